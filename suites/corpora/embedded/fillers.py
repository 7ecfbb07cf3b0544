"""Sentences without facts that the embedded articles put between those with facts; E is the subject, K its kind."""

TOWNS = """
The houses near the gate are older than the houses near the square.
Few visitors stay longer than an afternoon, and most of them regret it.
The lanes are steep, so carts are left at the lower end and everything is carried from there.
Nobody has ever counted the cats of {E}, although several people have begun.
In summer the shutters stay closed until the heat has left the walls.
The inhabitants are said to be stubborn, which they deny at length.
Older maps spell the name in three different ways.
It is a quiet place, and those who grew up there say that quiet can be learned.
What the chronicle does not mention is usually more interesting than what it does.
The account is not confirmed by any other source.
Much of this is known only from letters, and the letters contradict one another.
Strangers often take the side street for the main street and are corrected by children.
The story is told differently in each of the inns.
A small plaque recalls the event, but ivy has grown over most of the words.
Historians disagree about the details, though not about the outcome.
Even today it is a favourite subject of conversation in {E}.
The archive holds a drawing of the scene by an unknown hand.
Some say that nothing of importance has happened in {E} since.
The decision was unpopular at first and was later remembered as unanimous.
From the upper windows one looks over gardens, walls and the slow traffic of the ford.
The cost was shared among the households according to the number of their chimneys.
Those who objected were invited to dinner, and the matter was not raised again.
On winter evenings the subject still divides families.
Schoolchildren in {E} learn these dates before they learn to spell.
The neighbours tell the same story with the names exchanged.
All this can be read in the parish book, whose pages smell of smoke.
It was a decision that changed the look of the streets for good.
A guide will explain it for a small fee, and for a larger one will stop explaining.
"""

STRUCTURES = """
From the meadow {E} looks smaller than it is, and from the water it looks larger.
The wind can be heard in it long before it can be felt on the ground.
Engineers still visit {E} to see how the joints were made.
Several older drawings show a plan that was never carried out.
The path from the road is overgrown, but the nettles are cut once a year.
The account books are complete except for the two most expensive years.
Nobody knows why the windows are of different sizes.
People in the neighbourhood set their watches by its shadow.
It has been repaired so often that little of the first work can be left.
The builders slept in tents, and their songs were written down by a curious priest.
An inscription near the entrance has been worn away by hands.
The archive of {T} keeps the contract, which is written on both sides of the skin.
Critics called {E} heavy; admirers called it patient.
There is no better place in the district for watching the weather arrive.
Swallows return to the same corner of it each spring.
The story is printed on the tickets, with two errors.
On the upstream side the stones are darker, and moss has closed the gaps.
Not everyone was pleased, and the protest letters fill a drawer.
An old photograph shows a crowd in hats, all looking the wrong way.
The plans have been lost, copied from memory, and lost again.
It is one of the few buildings of its kind that were never painted by accident.
The sound of {E} is different in fog, as every child in {T} knows.
For a long time it was forbidden to whistle near it.
Later owners added little and removed less.
The record is silent about what the workers thought.
It took the people of {T} a generation to get used to the sight.
Guides like to end the tour at this point.
Whether the story is true matters less than how often it is told.
"""

SOCIETIES = """
The minutes are kept in a chest with two locks, and the keys are held by people who do not get along.
Members of {E} greet each other with a nod that outsiders find hard to imitate.
The number of members has never been published.
Much of its history is known only from its quarrels.
A list of all former heads hangs in the corridor, with one name scratched out.
The rules of {E} have been revised many times, always in the direction of longer sentences.
Visitors are welcome, provided that they do not ask about the attic.
In the early days candles were so expensive that meetings ended at dusk.
It is said that no decision has ever been taken before supper.
Several families have belonged to {E} for as long as anyone can remember.
The seal was lost and found again so often that a copy was made.
The newspapers of {T} reported it on the last page.
The event is still mentioned in speeches, though rarely with approval.
Later historians of {E} have passed over the affair with a polite phrase.
Some of the papers were eaten by mice, which explains the gaps.
The custom puzzles newcomers, who are told to wait and see.
An oil lamp has burned in the hall ever since, apart from a few embarrassing nights.
The portrait in the stairwell shows everyone involved, looking elsewhere.
It was the beginning of a friendship that outlasted the institution's debts.
Those present swore to keep it secret, and the town knew by morning.
No other society in the region has anything like it.
Opinions about this are still divided along the lines of the old seating plan.
The chairs in the great hall were made by members, and it shows.
The yearbook devotes a single line to the matter.
The present head of {E} would prefer to speak of other things.
What began as an exception became a habit and then a rule.
Each new member has to hear the whole story standing.
"""

CRAFTS = """
Makers guard the exact proportions, although anyone can measure them.
It is harder to handle than it looks, and it looks hard.
Good examples of {E} can be told from poor ones in the dark.
For a long time it was regarded as a thing for old people.
Collectors pay more for those with small faults.
Museums rarely show {E}, because it cannot be understood behind glass.
No two pieces are alike, and the makers take care that this remains so.
The process has not been written down in full by anyone who knew it.
Machines have been built to do the work, and none has lasted a season.
An apprentice is allowed to spoil the first ten.
The smell of the workshop stays in the clothes for days.
Outsiders often hold {E} the wrong way round.
Its admirers describe it as honest; its critics describe it as unfinished.
The shape has hardly changed, which is either a virtue or a habit.
It was once so common that nobody thought of keeping one.
The best makers are said to work with their eyes closed.
Traces of older versions have been found, but they may have been something else.
A proverb compares a difficult neighbour to {E}.
The price has risen steadily, and so have the complaints.
Experts recognise the origin by the weight alone.
There are songs about {E}, none of them polite.
The story may be an invention, but it is a useful one.
In dry years it is made differently, and connoisseurs avoid it.
Every family that owns one tells a different tale about it.
The whole affair was soon forgotten by all except those who had paid for it.
A second version of the account leaves out the most surprising part.
It is usually made in winter, when other work is scarce.
Whoever has seen {E} once will recognise it anywhere.
"""
