"""Vocabulary of the embedded prose, part one: trades and workshops.

`things` are count nouns (`singular/plural` where the plural is not regular), `stuff` mass nouns, `did` what a person
did (past tense), `befell` what happened to one thing (past tense), `claims` whole clauses, `arts` gerund phrases.
"""

from suites.corpora.embedded.topic import Topic

TOPICS = (
    Topic(
        name="bread",
        things="loaf/loaves, oven, crust, rolling pin, sieve, biscuit, flour sack, bun, pastry, baking tray",
        stuff="flour, yeast, dough, salt, butter, rye",
        places="the bakehouse; the oven room; the shop counter; the flour loft",
        trades="baker, pastry cook, miller, apprentice baker",
        traits="golden, crisp, sour, round, dusty, heavy, fragrant",
        did="kneaded the dough twice before dawn; burned the first batch and sold it to the ferrymen; swept the flour "
        "from the steps; let the sponge rise beside the stove; shaped the buns without looking; cut the crust to "
        "listen to it crackle; kept the old starter alive through the frost; weighed every handful of rye",
        befell="cooled on the window sill all afternoon; split along the top; was sold before the bell rang; tasted "
        "faintly of smoke; came out paler than it should have; was shared between strangers",
        claims="a good crust tells you more than a recipe; dough punishes anyone who hurries; bread is mostly "
        "waiting; nobody argues on a full stomach; heat is a tool like any other; the same flour never behaves the "
        "same way twice; a cheap oven with a careful owner beats a fine one with a careless owner; hunger is a poor "
        "judge",
        arts="kneading by hand; feeding a starter; reading an oven by its smell; rising before everyone else",
    ),
    Topic(
        name="clocks",
        things="clock, pendulum, spring, escapement, dial, pocket watch/pocket watches, gear, hour hand, bell, minute "
        "wheel",
        stuff="brass, oil, enamel, polish, patience",
        places="the clock tower; the workbench; the back of the shop; the station hall",
        trades="clockmaker, watch repairer, bell founder, engraver",
        traits="brass, silent, accurate, tarnished, tiny, slow, ornate",
        did="took the movement apart on a white cloth; filed one tooth of the wheel by a hair; set every dial in the "
        "street to the same minute; wound the tower clock each Sunday; listened to the beat with closed eyes; lost a "
        "screw smaller than a grain of sand; engraved a date inside the lid; refused to guess the age of the case",
        befell="stopped at a quarter past four; gained a minute a day; ticked unevenly in wet weather; was wound for "
        "the first time in a generation; struck thirteen; hung crooked for years",
        claims="a clock that is wrong by a constant amount is perfectly useful; most faults are dirt; accuracy is a "
        "habit before it is a number; time feels longer in a quiet room; an honest repair leaves a trace; people "
        "trust a dial more than a calendar; small errors add up faster than large ones; nothing wears like a part "
        "that is never seen",
        arts="setting a watch by the sun; cleaning a movement; measuring a second; repairing what others threw away",
    ),
    Topic(
        name="glass",
        things="window, bottle, lens/lenses, blowpipe, mirror, goblet, furnace, lamp shade, pane, bead",
        stuff="sand, ash, molten glass, lead, soda, colour",
        places="the glassworks; the cooling room; the furnace door; the sand yard",
        trades="glassblower, glazier, lens grinder, stoker",
        traits="clear, green, fragile, wavy, thick, cloudy, blue",
        did="turned the pipe without a pause; ground the lens for a whole winter; cut a pane to the width of a thumb; "
        "fed the furnace through the night; mixed a blue that nobody could copy; dropped the goblet and laughed; "
        "packed the bottles in straw; puttied the last window at dusk",
        befell="cracked as it cooled; threw a green light across the floor; held a single bubble; was melted down "
        "again; survived the fall; bent the view of the street",
        claims="glass remembers how fast it cooled; a flaw can be the best part of a pane; the furnace decides when "
        "the day ends; clear things are the hardest to make; light is the only honest inspector; breath is a tool; a "
        "window is a promise about the weather; colour hides in very small amounts of metal",
        arts="blowing a bottle; grinding a lens; leading a window; keeping a furnace alive",
    ),
    Topic(
        name="wool",
        things="fleece, loom, spindle, blanket, shuttle, scarf/scarves, sheep pen, carding comb, bobbin, thread",
        stuff="wool, yarn, lanolin, linen, dye, felt",
        places="the weaving shed; the shearing floor; the wool market; the drying green",
        trades="weaver, shepherd, dyer, spinner",
        traits="woollen, coarse, warm, striped, grey, soft, mended",
        did="sheared forty sheep before the rain; threaded the loom by lamplight; carded the fleece until it floated; "
        "unpicked a whole week of weaving; traded two blankets for a kettle; followed the flock over the ridge; wove "
        "a mistake into the border on purpose; hung the yarn along the fence",
        befell="shrank in the wash; smelled of rain for a month; unravelled from one corner; was passed from aunt to "
        "niece; kept out the worst of the wind; faded evenly",
        claims="a pattern is a way of counting; cloth shows where it was pulled; warmth is worth more than beauty "
        "until spring; a loom makes a thinker of anyone; sheep are less foolish than people say; the knot you cannot "
        "see holds the rest; thrift and elegance are closer than they look; a good blanket outlives its maker",
        arts="carding wool; counting threads; mending a sleeve; walking with a flock",
    ),
    Topic(
        name="printing",
        things="press/presses, type case, pamphlet, proof sheet, page, poster, almanac, ink roller, headline, woodcut",
        stuff="ink, paper, lead type, glue, gossip",
        places="the print shop; the composing room; the paper store; the drying racks",
        trades="printer, typesetter, bookbinder, proofreader",
        traits="inky, crooked, bold, damp, illustrated, cheap, rare",
        did="set the notice in the largest letters; found an error after the last sheet was printed; inked the block "
        "twice; folded the almanac by hand; ran out of the letter e; sold pamphlets from a wheelbarrow; bound the "
        "book in sailcloth; pulled a proof and pinned it to the door",
        befell="smudged in the rain; was pasted over by morning; sold out before noon; carried a spelling mistake for "
        "years; was read aloud in the inn; yellowed at the edges",
        claims="a misprint is remembered longer than a fact; paper is stronger than it looks; the margin does half "
        "the work; every editor is a gardener; news travels in proportion to its strangeness; a page is a kind of "
        "room; cheap books change more minds than fine ones; nobody reads the small print until it matters",
        arts="setting type; reading proofs; binding a book; writing a headline",
    ),
    Topic(
        name="boats",
        things="boat, oar, sail, mast, rudder, anchor, net, barge, rope, hull",
        stuff="tar, canvas, oak, seaweed, fog, ballast",
        places="the boatyard; the slipway; the sail loft; the inner harbour",
        trades="boatbuilder, sailmaker, ferryman/ferrymen, pilot",
        traits="wooden, leaking, narrow, fast, painted, weathered, borrowed",
        did="caulked the seams with tar and rope; rowed across before the fog lifted; steamed an oak plank until it "
        "bent; named the boat after a cousin; patched the sail with an old curtain; sounded the channel with a stone "
        "on a line; missed the tide by a few minutes; hauled the nets in silence",
        befell="slipped its mooring in the night; floated on the first attempt; took on water near the bow; lay "
        "upside down all winter; turned too slowly for the current; was painted a cheerful red",
        claims="a boat is a list of repairs; the tide does not negotiate; wood that bends once will bend again; every "
        "harbour thinks its fog is the worst; a knot is a sentence in rope; the quickest route is seldom the straight "
        "one; what floats is already half right; a calm sea teaches very little",
        arts="splicing a rope; reading the tide; bending a plank; rowing in company",
    ),
    Topic(
        name="bridges",
        things="bridge, arch/arches, pier, handrail, toll gate, keystone, scaffold, plank, cable, footing",
        stuff="stone, mortar, iron, timber, traffic",
        places="the old bridge; the toll house; the stone yard; the upstream bank",
        trades="mason, engineer, toll keeper, surveyor",
        traits="stone, narrow, graceful, temporary, iron, crowded, sturdy",
        did="measured the span with a chain; dressed the keystone for a month; argued for a third arch; counted carts "
        "from dawn until dark; drew the elevation on the back of a bill; walked out on the bare beam; drove the piles "
        "in low water; inspected each joint after the frost",
        befell="settled by the width of a finger; carried more carts than anyone had planned; stood unfinished for "
        "two winters; hummed in the wind; was closed for repairs; turned the village into a town",
        claims="a bridge is tested by the second crossing; load finds the shortest way to the ground; the cheap part "
        "fails first; people cross before they measure; water always gets a vote; a drawing is an argument; strength "
        "looks lazy when it is well placed; every crossing makes two markets into one",
        arts="laying an arch; counting traffic; testing a beam; drawing to scale",
    ),
    Topic(
        name="music",
        things="fiddle, drum, tune, choir, organ pipe, song, bow, rehearsal, string, trumpet",
        stuff="rosin, harmony, applause, silence, rhythm",
        places="the bandstand; the practice room; the chapel gallery; the dance hall",
        trades="fiddler, organist, conductor, instrument maker",
        traits="loud, cheerful, out-of-tune, borrowed, solemn, simple, lively",
        did="tuned the fiddle by ear; played the same eight bars for an hour; copied the parts by candlelight; forgot "
        "the second verse; taught the chorus to the whole street; broke a string at the worst moment; hummed the bass "
        "line on the way home; arrived late with the drum",
        befell="ended on the wrong chord; was whistled by everyone for a week; needed a fourth voice; drowned out the "
        "speech; sounded better outdoors; was never written down",
        claims="practice is a kind of listening; a rest is part of the tune; the audience tunes the players; slow "
        "music is harder than fast; a song survives by being changed; talent is often only a patient neighbour; "
        "silence is the cheapest instrument; everyone can keep time until they are watched",
        arts="tuning a fiddle; singing in parts; keeping time; learning a piece by heart",
    ),
    Topic(
        name="pottery",
        things="pot, kiln, bowl, glaze bucket, wheel, jug, tile, cup, handle, shelf/shelves",
        stuff="clay, glaze, slip, ash, firewood",
        places="the pottery; the clay pit; the kiln yard; the drying shed",
        trades="potter, tile maker, kiln hand, decorator",
        traits="glazed, chipped, speckled, lopsided, unfired, broad, red",
        did="centred the clay in three turns; opened the kiln a day too soon; dug clay from the bend in the river; "
        "threw forty cups before breakfast; mixed the glaze from memory; kept the cracked bowl for keys; stacked the "
        "shelves as tight as a puzzle; signed the base with a thumbnail",
        befell="leaned to one side; rang like a bell when tapped; stuck to the shelf; turned brown instead of blue; "
        "held flowers after it cracked; was copied by three neighbours",
        claims="clay keeps a record of every touch; the kiln has the last word; a useful cup is hard to improve; you "
        "learn the wheel with your back; accidents are the cheapest experiments; a collection of failures is called a "
        "workshop; weight is part of how a thing looks; the best glaze is the one you can repeat",
        arts="throwing a pot; firing a kiln; wedging clay; glazing by eye",
    ),
    Topic(
        name="carpentry",
        things="table, chair, plane, chisel, joint, drawer, saw, plank, hinge, workbench/workbenches",
        stuff="oak, pine, sawdust, glue, varnish",
        places="the joinery; the timber yard; the attic; the schoolroom",
        trades="carpenter, joiner, turner, wheelwright",
        traits="oak, wobbly, smooth, plain, dovetailed, sturdy, unfinished",
        did="planed the board until the light slid off it; measured twice and still cut it short; sharpened the "
        "chisel on a wet stone; built a cradle out of a door; hid a coin in the drawer; fitted the joint without "
        "glue; turned the legs on a borrowed lathe; stacked the oak to dry for six years",
        befell="warped in the first summer; fitted so well that it squeaked; was made from a single tree; lost a leg "
        "on the stairs; outlasted the house; smelled of resin",
        claims="a sharp tool is safer than a dull one; wood moves whether you allow it or not; the hidden side shows "
        "the maker; measuring is cheaper than sanding; a chair is the hardest simple thing; most houses are held "
        "together by habit; old nails have opinions; grain is a map of good and bad years",
        arts="sharpening a chisel; cutting a dovetail; choosing timber; fixing a door",
    ),
    Topic(
        name="blacksmithing",
        things="anvil, hammer, horseshoe, bellows/bellows, gate, nail, poker, ploughshare, hook, blade",
        stuff="iron, charcoal, steel, soot, sweat",
        places="the forge; the quenching trough; the wagon yard; the charcoal store",
        trades="blacksmith, farrier, cutler, bellows boy",
        traits="glowing, blunt, rusty, hammered, iron, bent, heavy",
        did="struck the iron while the colour held; shod nine horses in a morning; quenched the blade in oil; bent "
        "the scroll around a wooden form; let the fire go out on purpose; straightened a bag of old nails; pumped the "
        "bellows in time with a song; judged the heat by the shade of orange",
        befell="rang clear across the square; cracked in the cold trough; was forged from scrap; rusted within a "
        "week; held the gate through the storm; cooled to grey on the floor",
        claims="iron forgives a slow hand and punishes a late one; the colour is the thermometer; every tool in the "
        "forge was made by another; strength comes from being folded; noise is not progress; a nail is the smallest "
        "machine; scrap is only metal between jobs; a smith hears mistakes before seeing them",
        arts="drawing out a bar; shoeing a horse; tempering steel; reading the colour of heat",
    ),
    Topic(
        name="cooking",
        things="kettle, stew, recipe, spoon, pan, pie, jar, dumpling, supper, pepper mill",
        stuff="broth, pepper, onion, steam, honey, vinegar",
        places="the kitchen; the larder; the long table; the herb bed",
        trades="cook, innkeeper, butcher, spice seller",
        traits="hot, bitter, spiced, simmering, generous, plain, sweet",
        did="tasted the broth and said nothing; chopped onions by the window; doubled the recipe for the harvesters; "
        "hid the honey behind the vinegar; stirred the pot with a carved spoon; fed eleven people from one pan; "
        "salted the beans too early; wrote the recipe on the larder door",
        befell="boiled over onto the coals; was finished in ten minutes; improved on the second day; tasted of "
        "nothing at all; fed the whole crew; stuck to the bottom of the pan",
        claims="salt is the last decision; a recipe is a rumour about a meal; hunger makes the best sauce and the "
        "worst cook; slow food is not slow work; everyone remembers the burnt dish; a kitchen runs on small "
        "apologies; leftovers are a form of planning; taste is mostly memory",
        arts="tasting as you go; stretching a stew; sharpening a kitchen knife; cooking for strangers",
    ),
)
