"""Paragraphs about invented bridges, mills, lighthouses and towers; the form is that of `aspects_place`."""

STRUCTURES = """
{E} was designed by {person:a} and opened in {year:b} after {count:c} months of work. || Work on {E}, a design of \
{person:a}, took {count:c} months; it was opened in {year:b}.
The first to enter was {a_trade:d} with a cart of {goods:e}, who had not heard about the ceremony.
? Who designed {E}? = {a} | {a.last}
? In which year was {E} opened? = {b}
? How many months did the work on {E} take? = {c}
? What did the first cart at {E} carry? = {e}

The walls are of {material:a}, brought in barges along the {river:b} from a quarry near {town:c}. || Its {material:a} \
was cut near {town:c} and came by barge along the {river:b}.
Each of the {count:d} courses bears a mason's mark, and one of them shows {an_animal:e} in place of a name.
? Of what material are the walls of {E}? = {a}
? Along which river was the stone for {E} brought? = {b} | the {b}
? Near which town was the stone for {E} cut? = {c}
? Which animal is shown in place of a mason's name on {E}? = {e} | {e.bare}

Before there was {E}, people relied on a {vessel:a} kept by the family of {person:b}. || An old {vessel:a}, worked by \
{person:b} and later by the whole family, was all that people had before {E}.
It sank in {year:c} with {count:d} sheep aboard, and the petition for something better was signed within \
{small_days:e} days.
? What did people rely on before there was {E}? = {a} | an old {a}
? Whose family kept the vessel that served before {E}? = {b} | {b.last}
? When did the vessel that served before {E} sink? = {c}
? How many sheep were aboard the vessel that sank before {E} was built? = {d}

The money came from a lottery held in {town:a}, in which the main prize was {an_animal:b}. || A lottery in {town:a} \
paid for the work; first prize was {an_animal:b}.
It brought in {money:c}, of which the treasurer, {person:d}, could later account for all but the price of a \
{object:e}.
? In which town was the lottery for {E} held? = {a}
? What was the main prize of the lottery for {E}? = {b} | {b.bare}
? How much money did the lottery for {E} bring in? = {c}
? Who was the treasurer of the lottery for {E}? = {d} | {d.last}

During a storm in {month:a} of {year:b} a beam fell and struck the house of {person:c}. || A storm in {month:a} \
{year:b} tore loose a beam, which landed in the garden of {person:c}.
Nobody was hurt. The beam was made into {count:d} spoons, sold at the fair of {town:e} as a cure for toothache.
? In which year did a storm tear a beam from {E}? = {b}
? Into whose property did the beam from {E} fall? = {c} | {c.last}
? How many spoons were made from the beam of {E}? = {d}
? At the fair of which town were the spoons from {E} sold? = {e}

The keeper lives in a room above the {part:a}, reached by {count:b} steps. || Above the {part:a}, at the top of \
{count:b} steps, is the keeper's room.
The longest-serving keeper, {person:c}, grew {plant:d} on the sill and came down only for the market in {town:e}.
? Above which part of {E} does the keeper live? = {a} | the {a}
? How many steps lead to the keeper's room of {E}? = {b}
? Who was the longest-serving keeper of {E}? = {c} | {c.last}
? What did the longest-serving keeper of {E} grow on the sill? = {d}

The great bell, cast in {town:a} in {year:b}, is called {nickname:c}. || {nickname:c}, as the great bell is called, \
was cast in {town:a} in {year:b}.
It cracked on the day of its first ringing, and {person:d} mended it with {material:e}, which gives it a sound like a \
dropped pan.
? In which town was the great bell of {E} cast? = {a}
? What is the great bell of {E} called? = {c}
? Who mended the great bell of {E}? = {d} | {d.last}
? With what material was the great bell of {E} mended? = {e}

A painting of {E} by {person:a} hangs in the town hall of {town:b}. || In the town hall of {town:b} there is a \
painting of {E} by {person:a}.
It shows the sky in {colour:c}, which surprised the people who knew the place, and in the corner {an_animal:d}. The \
painter was paid with {count:e} loaves.
? Who made the painting of {E}? = {a} | {a.last}
? In the town hall of which town does the painting of {E} hang? = {b}
? What colour is the sky in the painting of {E}? = {c}
? With how many loaves was the painter of {E} paid? = {e}

In {year:a} the foundation began to sink, and the surveyor {person:b} was called. || The surveyor {person:b} was sent \
for in {year:a}, when cracks were seen near the ground.
Below the {part:c} was found a layer of {ground:d}; {count:e} piles of elm were driven through it, and nothing has \
moved since.
? In which year did the foundation of {E} begin to sink? = {a}
? Which surveyor was called when {E} began to sink? = {b} | {b.last}
? What layer was found under {E}? = {d} | a layer of {d}
? How many piles were driven under {E}? = {e}

Tolls were collected until {year:a}: {a_coin:b} for a person and three times as much for a cart. || Until {year:a} \
everyone paid {a_coin:b}, and a cart three times that.
The only people exempt were {exempt:c}, thanks to {person:d}, who had inserted the words at night. The collector's \
hut is now a {building:e}.
? Until when were tolls collected at {E}? = {a} | until {a}
? How much did a person pay at {E}? = {b} | {b.bare}
? Who did not have to pay at {E}? = {c}
? What is the collector's hut of {E} today? = {e} | a {e}

The iron parts were forged by {person:a} in a workshop at {town:b} and painted {colour:c}. || Painted {colour:c} at \
first, the iron parts were the work of {person:a} of {town:b}.
Altogether there are {count:d} bolts. One is missing, and the children of {T} say that {an_animal:e} swallowed it.
? Who forged the iron parts of {E}? = {a} | {a.last}
? What colour were the iron parts of {E} painted? = {c}
? How many bolts does {E} have? = {d}
? Which animal is said to have swallowed a bolt of {E}? = {e} | {e.bare}

Under the {part:a} workers found a box in {year:b} that held a {object:c} and a letter. || A box was discovered in \
{year:b} under the {part:a}; in it lay a {object:c} and a letter.
The letter was written by {person:d} to a cousin in {town:e} and complains about the food.
? Under which part of {E} was a box found? = {a} | the {a}
? In which year was the box found at {E}? = {b}
? What lay in the box found at {E} beside a letter? = {c} | a {c}
? Who wrote the letter found at {E}? = {d} | {d.last}

Every {day:a} the mechanism is oiled with {oil:b}, a rule laid down by {person:c}. || {person:c} laid down that the \
mechanism be oiled with {oil:b} every {day:a}.
In {year:d} the rule was forgotten for a month, and the noise could be heard in {town:e}.
? On which day is the mechanism of {E} oiled? = {a} | every {a}
? With what is the mechanism of {E} oiled? = {b}
? Who laid down the rule for oiling {E}? = {c} | {c.last}
? In which town could the noise of {E} be heard? = {e}

Couples come to {E} on {date:a}, because {person:b} and a {partner:c} once met there by mistake. || The meeting of \
{person:b} and a {partner:c}, both of whom had mistaken the hour, is the reason why couples come to {E} on {date:a}.
They leave a {object:d} behind; {count:e} of them were counted last year.
? On which date do couples come to {E}? = {a}
? Whose meeting made {E} a place for couples? = {b} | {b.last}
? What do couples leave behind at {E}? = {d} | a {d}
? How many objects left by couples were counted at {E} last year? = {e}

A model of {E} was built from {model:a} by {person:b} over {count:c} winters. || {person:b} spent {count:c} winters \
on a model of {E} made of {model:a}.
It was shown in {town:d} in {year:e}, where a visitor sat on it.
? Of what was the model of {E} built? = {a}
? Who built the model of {E}? = {b} | {b.last}
? How many winters did the model of {E} take? = {c}
? Where was the model of {E} shown? = {d} | in {d}

The plan to replace {E} was made in {year:a} and withdrawn after {count:b} days. || In {year:a} a plan to tear down \
{E} was announced; {count:b} days later it was withdrawn.
{person:c} had gathered the whole of {town:d} on the meadow with drums and {instrument:e}.
? When was the plan to replace {E} made? = {a}
? After how many days was the plan to replace {E} withdrawn? = {b}
? Who led the protest against the plan to replace {E}? = {c} | {c.last}
? Which instruments were played besides drums in the protest for {E}? = {e}
"""
