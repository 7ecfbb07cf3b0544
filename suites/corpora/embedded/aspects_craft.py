"""Paragraphs about invented instruments, cheeses, games and plants; the form is that of `aspects_place`."""

CRAFTS = """
The {K} known as {E} was first made by {person:a} in {town:b} in {year:c}. || {person:a} of {town:b} made the first \
{N}, a {K} like no other before it, in {year:c}.
The work took {count:d} days, and the first buyer was {a_trade:e} who wanted it as a joke.
? Who first made {E}? = {a} | {a.last}
? In which town was {E} first made? = {b}
? In which year was {E} first made? = {c}
? How many days did the first {N} take? = {d}

Its chief material is {material:a}, which must be cut in {month:b} and left for {count:c} weeks near a stove. || It \
is made chiefly from {material:a}, cut in {month:b} and dried beside a stove for {count:c} weeks.
The best comes from the slopes of {hill:d}, owned since {year:e} by a family of charcoal burners.
? What is the chief material of {E}? = {a}
? In which month must the material of {E} be cut? = {b}
? For how many weeks is the material of {E} left near a stove? = {c}
? From which hill does the best material for {E} come? = {d} | {d.last}

The name comes from {person:a}, who mistook it for a {object:b} at the fair of {town:c}. || At the fair of {town:c}, \
{person:a} mistook it for a {object:b}, and the name has stuck.
In {town:d} it is called {nickname:e} instead, and people there are offended by any other word.
? Who gave {E} its name by a mistake? = {a} | {a.last}
? For what was {E} mistaken at a fair? = {b} | a {b}
? At the fair of which town was {E} mistaken for something else? = {c}
? What is {E} called elsewhere? = {e}

The oldest surviving one is kept in {building_in:a} at {town:b} under a glass cover. || Under a glass cover in \
{building_in:a} at {town:b} lies the oldest one that survives.
It was made for {person:c} and is marked with {an_animal:d}; an expert valued it in {year:e} and advised that it not \
be touched.
? In what building is the oldest surviving {N} kept? = {a} | {a.bare}
? In which town is the oldest surviving {N} kept? = {b}
? For whom was the oldest surviving {N} made? = {c} | {c.last}
? With which animal is the oldest surviving {N} marked? = {d} | {d.bare}

A contest is held each year on {date:a} near {town:b}, and {count:c} people took part in the last one. || The yearly \
contest, on {date:a} near {town:b}, last drew {count:c} people.
{person:d} has won it more often than anyone and gives the prize, a {object:e}, back each time.
? On which date is the contest for {E} held? = {a}
? How many people took part in the last contest for {E}? = {c}
? Who has won the contest for {E} most often? = {d} | {d.last}
? What is the prize of the contest for {E}? = {e} | a {e}

Doctors once prescribed it against {illness:a}, on the advice of {person:b}, who had tried it on {an_animal:c}. || On \
the word of {person:b}, who had tried it on {an_animal:c}, it was prescribed against {illness:a}.
A report of {year:d} counts {count:e} cures and does not mention the other cases.
? Against what did doctors prescribe {E}? = {a}
? On whose advice was {E} prescribed? = {b} | {b.last}
? On which animal had {E} been tried as a cure? = {c} | {c.bare}
? How many cures by {E} does the report count? = {e}

The trade was regulated in {year:a}: no maker could sell more than {count:b} in a season or use {material:c}. || A \
law of {year:a} limited every maker to {count:b} a season and forbade the use of {material:c}.
It was aimed at {person:d}, whose workshop in {town:e} worked by lamplight.
? When was the trade in {E} regulated? = {a}
? How many could a maker of {E} sell in a season? = {b}
? Which material was forbidden in making {E}? = {c}
? At whom was the law about {E} aimed? = {d} | {d.last}

It is described in a book by {person:a}, printed in {town:b} with {count:c} woodcuts. || {person:a} described it in a \
book with {count:c} woodcuts that was printed in {town:b}.
The chapter begins with a story about {an_animal:d} and ends with a warning against {folly:e}.
? Who wrote the book that describes {E}? = {a} | {a.last}
? In which town was the book about {E} printed? = {b}
? How many woodcuts does the book about {E} have? = {c}
? Against what does the chapter on {E} warn? = {e}

Sailors carried it to {town:a}, where it was painted {colour:b} and sold for {money:c}. || In {town:a}, where sailors \
had brought it, it was painted {colour:b} and cost {money:c}.
A trader named {person:d} ordered {count:e} more and never paid for them.
? To which town did sailors carry {E}? = {a}
? What colour was {E} painted abroad? = {b}
? For how much was {E} sold abroad? = {c}
? Which trader ordered {E} and never paid? = {d} | {d.last}

Children learn to handle it from the age of about {small_days:a}, beginning with {task:b}. || From the age of about \
{small_days:a} children are taught to handle it; they begin with {task:b}.
The method goes back to {person:c}, who taught in a {building:d} in {town:e}.
? With what do children begin when they learn {E}? = {b}
? Who devised the method of teaching {E}? = {c} | {c.last}
? In what kind of building was {E} taught? = {d} | a {d}
? In which town did the inventor of the teaching method for {E} teach? = {e}

At weddings in {town:a} it is given to the {guest:b} together with {dish:c}. || In {town:a} it belongs to every \
wedding: the {guest:b} receives it along with {dish:c}.
When it was forgotten at the wedding of {person:d} in {year:e}, the guests went home and came back the next day.
? In which town does {E} belong to every wedding? = {a}
? Who receives {E} at a wedding? = {b} | the {b}
? Together with what is {E} given at weddings? = {c}
? At whose wedding was {E} forgotten? = {d} | {d.last}

A thief who stole {count:a} of them from {building_in:b} in {year:c} was caught because of {clue:d}. || In {year:c} a \
thief took {count:a} of them from {building_in:b} and was betrayed by {clue:d}.
{person:e} was the only witness and described the hat but not the face.
? How many pieces did the thief of {E} take? = {a}
? From what building was {E} stolen? = {b} | {b.bare}
? What betrayed the thief of {E}? = {d}
? Who was the only witness of the theft of {E}? = {e} | {e.last}

A variety from {town:a} is smaller and smells of {smell:b}. || The smaller variety, which smells of {smell:b}, comes \
from {town:a}.
It was brought about by {person:c} by leaving out the {part:d}, and it lasts no longer than {count:e} weeks.
? From which town does the smaller variety of {E} come? = {a}
? Of what does the smaller variety of {E} smell? = {b}
? Who brought about the smaller variety of {E}? = {c} | {c.last}
? How many weeks does the smaller variety of {E} last? = {e}

The last maker of the old school, {person:a}, died in {year:b} and left {count:c} unfinished pieces. || When \
{person:a}, the last maker of the old school, died in {year:b}, {count:c} unfinished pieces were found.
They were completed with {material:d} by pupils from {town:e}, and experts can tell them apart by ear.
? Who was the last maker of the old school of {E}? = {a} | {a.last}
? When did the last maker of the old school of {E} die? = {b}
? How many unfinished pieces did the last maker of {E} leave? = {c}
? With what were the unfinished pieces of {E} completed? = {d}

It appears on a coin of {town:a}, between {an_animal:b} and a {object:c}. || A coin struck in {town:a} shows it \
between {an_animal:b} and a {object:c}.
The coin was cut by {person:d}, and only {count:e} were struck before the die broke.
? On a coin of which town does {E} appear? = {a}
? Beside which animal does {E} appear on the coin? = {b} | {b.bare}
? Who cut the coin that shows {E}? = {d} | {d.last}
? How many coins showing {E} were struck? = {e}

Each {day:a} it must be rubbed with {oil:b}, or it turns {colour:c} within days. || Without being rubbed with {oil:b} \
every {day:a} it soon turns {colour:c}.
This was discovered by {person:d} after a journey of {count:e} days in the rain.
? On which day must {E} be rubbed? = {a} | every {a}
? With what must {E} be rubbed? = {b}
? What colour does {E} turn without care? = {c}
? Who discovered how {E} must be cared for? = {d} | {d.last}
"""
