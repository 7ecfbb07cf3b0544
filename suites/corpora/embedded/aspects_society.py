"""Paragraphs about invented guilds, schools and choirs; the form is that of `aspects_place`."""

SOCIETIES = """
{E} was founded in {year:a} by {count:b} members in the back room of {building_in:c}. || In {year:a} {count:b} people \
met in the back room of {building_in:c} and founded {E}.
Its first head was {person:d}, {a_trade:e} who could not read but never forgot a number.
? When was {E} founded? = {a}
? How many people founded {E}? = {b}
? In the back room of what building was {E} founded? = {c} | {c.bare}
? Who was the first head of {E}? = {d} | {d.last}

Whoever wants to join must show a {object:a} made by hand and pay {money:b}. || A {object:a} made by hand and a fee \
of {money:b} are asked of everyone who wants to join.
The oldest such work still kept was made by {person:c} in {year:d}; it was refused twice for being {flaw:e}.
? What must be made by hand to join {E}? = {a} | a {a}
? What is the fee for joining {E}? = {b}
? Who made the oldest admission work kept by {E}? = {c} | {c.last}
? Why was the oldest admission work of {E} refused twice? = {e} | for being {e}

Meetings are held on the first {day:a} of the month and open with the ringing of a {bell:b} bell. || On the first \
{day:a} of each month a {bell:b} bell calls the members together.
The longest meeting lasted {count:c} hours and was about {dispute:d}; it ended when {person:e} put out the lamps.
? On which day does {E} hold its meetings? = {a} | the first {a} of the month
? How many hours did the longest meeting of {E} last? = {c}
? What was the longest meeting of {E} about? = {d}
? Who ended the longest meeting of {E} by putting out the lamps? = {e} | {e.last}

The house of {E} was bought from {person:a} in {year:b} and had been a {building:c}. || {person:a} sold a former \
{building:c} to {E} in {year:b}.
Over the door is carved {an_animal:d}, and the great hall seats {count:e} people, though not comfortably.
? From whom was the house of {E} bought? = {a} | {a.last}
? What had the house of {E} been before? = {c} | a former {c}
? Which animal is carved over the door of {E}? = {d} | {d.bare}
? How many people does the great hall of {E} seat? = {e}

In its archive lies the diary of {person:a}, who walked from {town:b} to {town:c} to settle a debt. || The archive \
holds the diary of {person:a}; its main subject is a walk from {town:b} to {town:c} to settle a debt.
The diary mentions rain on {count:d} days and describes in detail a meal of {dish:e}.
? Whose diary lies in the archive of {E}? = {a} | {a.last}
? From where did the walk in the diary kept by {E} start? = {b}
? On how many days did it rain according to the diary kept by {E}? = {d}
? Which meal does the diary kept by {E} describe? = {e}

Women were admitted from {year:a} on, after {person:b} had done the work of the secretary for {count:c} years without \
being named. || For {count:c} years {person:b} had secretly done the secretary's work when {E} opened to women in \
{year:a}.
The first to sign the book was a {partner:d} from {town:e}.
? When did {E} begin to admit women? = {a}
? Who secretly did the work of the secretary of {E}? = {b} | {b.last}
? For how many years was the secretary's work of {E} done without credit? = {c}
? From which town was the first woman to sign the book of {E}? = {e}

The rules forbid members to sell {goods:a} on feast days and to whistle in {building_in:b}. || Members may neither \
sell {goods:a} on feast days nor whistle in {building_in:b}.
The second rule goes back to {person:c}, who in {year:d} whistled during a funeral and was fined {money:e}.
? What may members of {E} not sell on feast days? = {a}
? Where may members of {E} not whistle? = {b} | in {b}
? Who whistled during a funeral and so gave {E} its rule? = {c} | {c.last}
? How much was the fine for whistling at {E}? = {e}

The yearly dinner takes place on {date:a} and always begins with {dish:b}. || The yearly dinner, which is held on \
{date:a}, is opened with {dish:b}.
In {year:c} the cook, {person:d}, fell ill, and {count:e} guests were served nothing but bread; it was called the \
best dinner in memory.
? On which date is the yearly dinner of {E}? = {a}
? With what does the yearly dinner of {E} begin? = {b}
? Which cook of {E} fell ill before the dinner? = {d} | {d.last}
? How many guests of {E} were served nothing but bread? = {e}

A rival society was set up in {town:a} in {year:b} by {person:c}, who had lost an election by one vote. || {person:c} \
lost an election by one vote and in {year:b} set up a rival society in {town:a}.
It had {count:d} members at most and was dissolved after a dispute about a {object:e}.
? In which town was the rival society of {E} set up? = {a}
? Who set up the rival society of {E}? = {c} | {c.last}
? How many members did the rival of {E} have at most? = {d}
? After a dispute about what was the rival of {E} dissolved? = {e} | a {e}

The treasure of {E} is a {object:a} of {material:b}, given by {person:c} out of gratitude for a cured horse. || \
{person:c}, whose horse had been cured, gave {E} a {object:a} of {material:b}.
It weighs as much as {count:d} eggs and was hidden in a beehive during the winter of {year:e}.
? What is the treasure of {E}? = {a} | a {a} of {b}
? Who gave {E} its treasure? = {c} | {c.last}
? How many eggs does the treasure of {E} weigh as much as? = {d}
? In which year was the treasure of {E} hidden in a beehive? = {e}

Apprentices serve {count:a} months and live in the house of a master; the first year is spent with {task:b}. || An \
apprentice serves {count:a} months, the first year of which goes to {task:b}.
The strictest master was {person:c} of {town:d}, who allowed a free afternoon only in {month:e}.
? How many months does an apprentice of {E} serve? = {a}
? With what do apprentices of {E} spend the first year? = {b}
? Who was the strictest master of {E}? = {c} | {c.last}
? In which month did the strictest master of {E} allow a free afternoon? = {e}

The banner shows {an_animal:a} and a {object:b} on {colour:c} silk. || On {colour:c} silk the banner shows \
{an_animal:a} and a {object:b}.
It was sewn by {person:d} in {year:e} from the lining of an old coat, and carried at every funeral since.
? Which animal does the banner of {E} show? = {a} | {a.bare}
? What colour is the silk of the banner of {E}? = {c}
? Who sewed the banner of {E}? = {d} | {d.last}
? In which year was the banner of {E} sewn? = {e}

Since {year:a} {E} has kept a library of {count:b} volumes, most of them about {collection:c}. || The library, begun \
in {year:a}, holds {count:b} volumes, chiefly about {collection:c}.
The librarian {person:d} arranged them by the colour of their backs, and a reader from {town:e} spent a year putting \
them right.
? When did {E} begin its library? = {a}
? How many volumes does the library of {E} hold? = {b}
? What are most of the books of {E} about? = {c}
? Who arranged the books of {E} by colour? = {d} | {d.last}

During the siege of {year:a} the members baked bread from {flour:b} and shared it with {town:c}. || In the siege of \
{year:a} bread made of {flour:b} was baked and sent to {town:c}.
{person:d} carried it past the sentries in a coffin on {count:e} nights.
? From what did the members of {E} bake bread during the siege? = {b}
? With which town did {E} share its bread? = {c}
? Who carried the bread of {E} past the sentries? = {d} | {d.last}
? On how many nights was the bread of {E} carried past the sentries? = {e}

A song of {E}, written by {person:a}, has {count:b} verses and mentions {an_animal:c} in each of them. || {person:a} \
wrote the song of {E}; all {count:b} verses mention {an_animal:c}.
It is sung to the sound of {instrument:d} on the way to {hill:e}.
? Who wrote the song of {E}? = {a} | {a.last}
? How many verses does the song of {E} have? = {b}
? Which animal is mentioned in each verse of the song of {E}? = {c} | {c.bare}
? To the sound of which instruments is the song of {E} sung? = {d}

In {year:a} the cashier, {person:b}, vanished with {money:c} and was found in {town:d}, where a {building:e} had been \
opened under a false name. || The cashier {person:b} disappeared in {year:a} with {money:c}; it was later learned \
that the money had gone into a {building:e} in {town:d}.
The loss was made up within a year by selling candles.
? Who was the cashier of {E} that vanished? = {b} | {b.last}
? With how much money did the cashier of {E} vanish? = {c}
? In which town was the cashier of {E} found? = {d}
? What had the cashier of {E} opened under a false name? = {e} | a {e}
"""
