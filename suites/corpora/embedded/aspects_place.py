"""Paragraphs about invented towns and about things that were built, with the questions they answer.

A block is one paragraph: lines are its sentences, `a || b` are two ways to say one of them, `{kind:name}` draws a
value that no other paragraph of the article holds, `{name}` repeats it. Lines with `?` are questions, `=` leads their
answers, `|` separates aliases. E is the subject, K its kind, T the town it belongs to.
"""

TOWNS = """
{E} was founded in {year:a} by {person:b}, {a_trade:c} who had lost a lawsuit in {town:d} and wanted never to see \
that town again. || According to its own chronicle, {E} goes back to {year:a}, when {person:b}, {a_trade:c} driven \
out of {town:d}, built the first house there.
The first settlers numbered {count:e}, and half of them left before the second winter. || Only {count:e} people came \
in the first year, and few of them knew how to build.
? In what year was {E} founded? = {a}
? Who founded {E}? = {b} | {b.last}
? From which town did the founder of {E} come? = {d}
? How many people settled in {E} at first? = {e}

The town lies on the river {river:a}, about {count:b} miles above its mouth, at the only place where carts can cross. \
|| {E} stands on the north bank of the river {river:a}, {count:b} miles from the sea, beside an old ford.
Behind the houses rises {hill:c}, from whose top the towers of {town:d} can be seen in clear weather.
? On which river does {E} lie? = {a}
? How far is {E} from the sea in miles? = {b}
? What is the name of the hill behind {E}? = {c} | {c.last}
? Which town's towers can be seen from the hill behind {E}? = {d}

The market of {E} has been held on {weekday:a} since {year:b}, when the council bought the right from {person:c} for \
{money:d}. || Since {year:b} the market has taken place on {weekday:a}; the right to hold it cost the council \
{money:d}, paid to {person:c}.
It is best known for its {goods:e}, which buyers fetch from three counties.
? On which day is the market of {E} held? = {a}
? Since when has {E} held its market? = {b} | since {b}
? From whom did the council of {E} buy the right to a market? = {c} | {c.last}
? What did the right to hold a market cost {E}? = {d}
? For what goods is the market of {E} best known? = {e}

A fire that broke out in the shop of {a_trade:a} destroyed {count:b} houses in {year:c}. || In {year:c} a fire, which \
began at the house of {a_trade:a}, burned down {count:b} houses in a single night.
The rebuilding was directed by {person:d}, who insisted that every roof be covered with {material:e} and every lane \
be wide enough for two carts.
? How many houses did the fire in {E} destroy? = {b}
? When did the great fire of {E} happen? = {c}
? Who directed the rebuilding of {E} after the fire? = {d} | {d.last}
? With what did the roofs of {E} have to be covered after the fire? = {e}

The school of {E} was opened by {person:a} in {year:b} in a disused {building:c}. || In {year:b} {person:a} turned an \
empty {building:c} into the first school of the town.
It began with {count:d} pupils, and its library, a gift from {town:e}, was kept in a single trunk.
? Who opened the school of {E}? = {a} | {a.last}
? What had the school building of {E} been before? = {c} | a disused {c} | an empty {c}
? With how many pupils did the school of {E} begin? = {d}
? Which town gave the school of {E} its library? = {e}

Every year on {date:a} the people of {E} carry {an_animal:b} made of straw through the streets. || The festival of \
{E} falls on {date:a}; its centre is {an_animal:b} woven from straw, carried from door to door.
The custom is said to recall {person:c}, who saved the harvest of {year:d} by noticing a change in the wind. \
Afterwards everyone eats {dish:e}.
? On which date does {E} hold its festival? = {a}
? What straw animal is carried through {E} at the festival? = {b} | {b.bare}
? Whom does the festival of {E} recall? = {c} | {c.last}
? What do people in {E} eat after the procession? = {e}

The flood of {year:a} rose to the second step of the town hall and carried away {count:b} barns. || In {year:a} the \
water reached the second step of the town hall; {count:b} barns were lost.
{person:c} rowed from house to house in a {vessel:d} and was later given a silver {object:e}, which is still shown to \
visitors.
? In which year did the flood reach the town hall of {E}? = {a}
? How many barns did {E} lose in the flood? = {b}
? Who rowed from house to house during the flood in {E}? = {c} | {c.last}
? What silver gift did the rower of {E} receive? = {e} | a silver {e}

Most families once lived from making {goods:a}, a trade brought to the town by weavers and carpenters from {town:b}. \
|| The making of {goods:a}, learned from people of {town:b}, fed most families for generations.
At its height in {year:c} there were {count:d} workshops; the last one, owned by {person:e}, closed when the railway \
came.
? What did most families of {E} once make? = {a}
? From which town did the main trade of {E} come? = {b}
? How many workshops did {E} have at the height of its trade? = {d}
? Who owned the last workshop in {E}? = {e} | {e.last}

The town hall was designed by {person:a} and took {count:b} months to build. || {person:a} drew the plans of the town \
hall, which was finished after {count:b} months.
Its tower of {material:c} leans slightly towards the {quarter:d}; in {year:e} the clock was moved to the other side \
so that the council could read it.
? Who designed the town hall of {E}? = {a} | {a.last}
? How many months did it take to build the town hall of {E}? = {b}
? Of what material is the tower of the town hall of {E}? = {c}
? When was the clock of the town hall of {E} moved? = {e}

The best-known native of {E} is {person:a}, who was born above the shop of {a_trade:b} in {year:c}. || {person:a}, \
born in {year:c} above the shop of {a_trade:b}, is the only person from {E} known abroad.
As a child {person_he:a} collected {collection:d}, and in old age returned to write a history of {town:e}, which \
nobody had asked for.
? Who is the best-known native of {E}? = {a} | {a.last}
? When was the best-known native of {E} born? = {c}
? What did the best-known native of {E} collect as a child? = {d}
? Of which town did the best-known native of {E} write a history? = {e}

The railway reached {E} in {year:a}, after the engineer {person:b} had promised to spare the old {building:c}. || In \
{year:a} the first train arrived in {E}; its engineer, {person:b}, had bent the line to spare the old {building:c}.
The journey to {town:d} then took {count:e} minutes and cost less than a loaf of bread.
? When did the railway reach {E}? = {a}
? Who was the engineer of the railway to {E}? = {b} | {b.last}
? Which old building in {E} did the railway spare? = {c} | the old {c}
? How many minutes did the train from {E} to the next town take? = {e}

A quarrel with {town:a} over {dispute:b} lasted {count:c} years and filled a whole shelf of the archive. || For \
{count:c} years {E} and {town:a} disputed {dispute:b}.
It was settled by {person:d}, who let a coin decide and then kept the coin. The agreement was signed in \
{building_in:e}.
? With which town did {E} quarrel? = {a}
? What was the quarrel of {E} with its neighbour about? = {b}
? How many years did the quarrel of {E} last? = {c}
? Who settled the quarrel of {E}? = {d} | {d.last}

Visitors are shown a well that was dug by {person:a} and is {count:b} ells deep. || The deep well of {E}, {count:b} \
ells from rim to water, was dug by {person:a}.
Until {year:c} its water was sold by the bucket by a family from {town:d}. Children believe that {an_animal:e} lives \
at the bottom.
? Who dug the deep well of {E}? = {a} | {a.last}
? How many ells deep is the well of {E}? = {b}
? Until when was the water of the well in {E} sold? = {c} | until {c}
? Which animal do the children of {E} believe lives in the well? = {e} | {e.bare}

The coat of arms shows {an_animal:a} holding a {object:b} on a field of {colour:c}. || On the town's seal stands \
{an_animal:a} with a {object:b}, the ground being {colour:c}.
It was granted in {year:d} and drawn by {person:e}, who had never seen the town and imagined it by the sea.
? Which animal stands on the coat of arms of {E}? = {a} | {a.bare}
? What does the animal on the coat of arms of {E} hold? = {b} | a {b}
? What colour is the field of the coat of arms of {E}? = {c}
? Who drew the coat of arms of {E}? = {e} | {e.last}

The orchards south of the wall belong to a society of {count:a} households and are known for a {fruit:b} that keeps \
until {month:c}. || South of the wall lie orchards, shared by {count:a} households, where a {fruit:b} grows that can \
be eaten as late as {month:c}.
It was first grafted by {person:d}, and cuttings have since been planted as far away as {town:e}.
? How many households own the orchards of {E}? = {a}
? Which fruit are the orchards of {E} known for? = {b}
? Until which month does the fruit of {E} keep? = {c}
? Who first grafted the fruit of {E}? = {d} | {d.last}

The hospital stands on the site of a {building:a} and was paid for by a tax on {goods:b}. || A tax on {goods:b} paid \
for the hospital, which replaced a {building:a}.
Its first doctor, {person:c}, came from {town:d} for one winter and stayed for {count:e} years.
? What stood on the site of the hospital of {E} before? = {a} | a {a}
? A tax on what paid for the hospital of {E}? = {b}
? Who was the first doctor of the hospital of {E}? = {c} | {c.last}
? How many years did the first doctor of {E} stay? = {e}
"""
