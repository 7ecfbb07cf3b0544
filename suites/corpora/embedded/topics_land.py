"""Vocabulary of the embedded prose, part two: land, water, weather and what lives there."""

from suites.corpora.embedded.topic import Topic

TOPICS = (
    Topic(
        name="bees",
        things="hive, bee, swarm, frame, smoker, queen, honeycomb, flower, jar, veil",
        stuff="honey, wax, pollen, smoke, clover",
        places="the apiary; the lime avenue; the heather slope; the honey house",
        trades="beekeeper, gardener, candle maker, naturalist",
        traits="humming, golden, restless, gentle, sticky, crowded, early",
        did="moved the hives at night; followed the swarm over two hedges; lifted the frame into the light; left half "
        "the honey for the winter; was stung on the thumb and went on; planted clover along the path; marked the "
        "queen with a dot of paint; listened to the hive with one ear",
        befell="settled on the church door; grew quiet before the rain; produced more than three jars; was robbed by "
        "wasps; weighed less in February; warmed the hands that held it",
        claims="a hive is one animal with many wings; weather is the real owner of the honey; calm hands are a kind "
        "of veil; bees read a garden better than gardeners do; work looks like play from far away; a colony plans for "
        "a spring it will not see; sweetness has to be carried drop by drop; smoke only helps those who wait",
        arts="moving a hive; reading a swarm; planting for bees; taking honey without greed",
    ),
    Topic(
        name="gardens",
        things="garden, seed, spade, bean row, compost heap, rose, fence, wheelbarrow, bulb, greenhouse",
        stuff="soil, compost, mulch, moss, rain water",
        places="the walled garden; the potting shed; the lower beds; the garden gate",
        trades="gardener, seed merchant, florist, botanist",
        traits="tidy, overgrown, sheltered, muddy, late, fragrant, walled",
        did="sowed the beans a week too early; dug the frost out of the ground; labelled the bulbs in pencil; watered "
        "the seedlings at dusk; let the nettles have one corner; traded cuttings over the fence; turned the compost "
        "until it steamed; pruned the rose down to three buds",
        befell="flowered in the wrong colour; came up in the neighbour's bed; drowned in the wet spring; fed the "
        "snails first; needed two years to take hold; spread under the wall",
        claims="soil is built, not bought; a weed is a plant with good timing; gardens are slow letters to strangers; "
        "shade is a crop too; nothing teaches modesty like a late frost; the tidy bed is not always the healthy one; "
        "a gate changes how people walk; seeds are cheap and patience is not",
        arts="sowing in rows; making compost; pruning hard; keeping a garden diary",
    ),
    Topic(
        name="rivers",
        things="river, bend, weir, willow, eel, ford, flood mark, raft, sandbank, stepping stone",
        stuff="silt, gravel, current, mud, driftwood",
        places="the river bank; the weir; the gauging post; the flood meadow",
        trades="river keeper, eel catcher, lock keeper, dredger",
        traits="slow, brown, shallow, winding, swollen, quiet, deep",
        did="read the level from a painted post; waded across with a lantern; cleared the weir of branches; mapped "
        "the new channel after the storm; waited three days for the water to drop; lowered the eel traps at dusk; "
        "opened the lock for a single barge; found an old coin in the gravel",
        befell="moved ten paces to the east; ran clear for the first time in years; covered the lower path; froze "
        "along the edges; left a line of silt on the wall; was lower than anyone remembered",
        claims="a river is a road that moves; floods have long memories; the bend is older than the bank; still water "
        "hides the most work; every mill steals a little from the next; maps of rivers are always late; gravel is "
        "sorted by patience; the far bank looks drier than it is",
        arts="reading the water; clearing a weir; crossing by a ford; measuring a flood",
    ),
    Topic(
        name="weather",
        things="storm, cloud, barometer, forecast, frost, rainbow, weather vane, drought, gust, puddle",
        stuff="rain, sleet, thunder, drizzle, sunshine, mist",
        places="the weather station; the hilltop; the harbour wall; the back porch",
        trades="weather watcher, farmer, lighthouse keeper, postman/postmen",
        traits="sudden, grey, wet, distant, gloomy, bright, freezing",
        did="tapped the barometer and frowned; wrote the rainfall in a school notebook; carried an umbrella for luck; "
        "predicted snow and was believed; measured the hail against a coin; hung the washing out anyway; counted the "
        "seconds after the lightning; closed the shutters in good time",
        befell="passed to the north; arrived a day early; lasted until the bells; turned the lane to ice; flattened "
        "the barley; caught everyone without a coat",
        claims="a forecast is a bet with good manners; everyone complains about the rain that someone else needs; the "
        "weather is the only shared story; wind has no memory; a dry year is remembered for its dust; clouds are "
        "slower than they look; the sky is read best by those who must work under it; frost chooses the low ground",
        arts="keeping a rain gauge; watching clouds; predicting frost; waiting out a storm",
    ),
    Topic(
        name="mountains",
        things="ridge, summit, pass/passes, cairn, goat, hut, ice axe, ledge, avalanche, trail",
        stuff="snow, granite, ice, altitude, thin air",
        places="the high pass; the upper hut; the scree slope; the tree line",
        trades="guide, shepherd, mountain porter, mapmaker",
        traits="steep, windy, icy, lonely, narrow, sunlit, rocky",
        did="turned back an hour below the summit; built a cairn in the mist; melted snow for tea; roped three "
        "strangers together; slept in the hut with the goats; marked the trail with red paint; crossed the pass "
        "before the thaw; shared the last dry socks",
        befell="vanished into cloud; was longer than the map promised; echoed for half a minute; closed in October; "
        "looked easy from the valley; crumbled under the boot",
        claims="the summit is only the halfway point; a map is most useful before it is needed; fear is a kind of "
        "altitude sickness; the slowest walker sets the honest pace; mountains are patient with everyone once; good "
        "guides turn back early; silence has a sound above the tree line; weight is decided at home",
        arts="walking on scree; reading snow; packing a light bag; turning back in time",
    ),
    Topic(
        name="orchards",
        things="apple, pear, ladder, cider press/cider presses, orchard, graft, basket, plum, branch/branches, wasp",
        stuff="cider, blossom, bark, pulp, shade",
        places="the orchard; the cider barn; the fruit loft; the south wall",
        trades="orchardist, fruit picker, cider maker, grafter",
        traits="ripe, bruised, tart, old, crooked, heavy, speckled",
        did="grafted three kinds onto one trunk; shook the branch and ran; pressed the windfalls on a Sunday; stored "
        "the pears on straw; propped the boughs with poles; tasted a row of apples blindfolded; painted the trunks "
        "white; fell off the ladder without spilling the basket",
        befell="fruited every second year; ripened in one warm week; was hollow and still bore; won a ribbon at the "
        "fair; fed the blackbirds; bent to the ground with fruit",
        claims="an orchard is planted for grandchildren; the best apple is the one with a story; pruning is the art "
        "of saying no; a windfall is not a gift but a schedule; sourness keeps through the winter; trees take turns; "
        "no two ladders are the same height; sweetness comes late and leaves early",
        arts="grafting a branch; pressing cider; storing apples; climbing with a basket",
    ),
    Topic(
        name="forests",
        things="oak, path, clearing, axe, mushroom, woodpile, owl, log, fox/foxes, fern",
        stuff="timber, moss, resin, bark, leaf mould",
        places="the beech wood; the sawmill; the charcoal clearing; the forest edge",
        trades="forester, woodcutter, charcoal burner, mushroom hunter",
        traits="ancient, mossy, dark, fallen, tangled, silent, tall",
        did="counted the rings of a fallen oak; lost the path at the third stream; stacked the logs bark side up; "
        "left the dead tree for the owls; planted acorns in a straight line; gathered mushrooms in a hat; marked the "
        "timber with a white stripe; burned charcoal for nine days",
        befell="fell without anyone hearing; sprouted from the stump; was older than the parish; hid the road from "
        "the farm; burned slowly all night; grew toward the clearing",
        claims="a forest is a slow conversation; dead wood is the busiest part; paths are made by the tired; you "
        "cannot hurry an oak; every clearing was once an accident; the woods are louder at night; a tree keeps its "
        "worst years near the middle; the straightest trunks are cut first",
        arts="splitting logs; counting rings; finding mushrooms; walking without a path",
    ),
    Topic(
        name="farming",
        things="field, plough, harvest, barn, cow, fence post, hedge, cart, scarecrow, turnip",
        stuff="barley, hay, manure, clover, straw",
        places="the top field; the threshing floor; the cow shed; the farm gate",
        trades="farmer, ploughman/ploughmen, dairymaid, drover",
        traits="muddy, fallow, fertile, stony, early, small, wide",
        did="ploughed around the lark's nest; mended the fence in the rain; sold the red cow and regretted it; cut "
        "the hay between two storms; rested the field for a year; counted the sheaves by lantern; lent the cart to "
        "the school; named every cow after a river",
        befell="failed twice in a row; fed the village through March; was too wet to plough; stood in neat rows; "
        "turned gold in a week; broke the second blade",
        claims="a fallow field is not idle; fences are arguments that were settled; the harvest is counted in spring "
        "worries; a good neighbour is worth an acre; the land keeps better accounts than the bank; animals know the "
        "timetable; rain on hay teaches planning; the oldest tool is the morning",
        arts="ploughing a straight line; making hay; resting a field; keeping cattle calm",
    ),
    Topic(
        name="the sea",
        things="wave, lighthouse, shell, gull, tide table, wreck, beach/beaches, buoy, cliff, fish/fish",
        stuff="salt, foam, sand, kelp, spray",
        places="the headland; the harbour; the lamp room; the shingle beach",
        trades="fisherman/fishermen, lighthouse keeper, diver, salt maker",
        traits="rough, salty, cold, calm, grey, foaming, endless",
        did="trimmed the lamp every four hours; gathered driftwood after the gale; dived for a lost anchor; dried the "
        "nets on the wall; logged the passing ships; swam to the buoy and back; waited for the boats with a lantern; "
        "boiled sea water for salt",
        befell="washed up after the storm; warned two ships in one night; disappeared at high tide; smelled of kelp; "
        "was worn smooth; drifted past the point",
        claims="the sea returns things in its own order; a harbour is a habit of boats; light is a language with one "
        "word; fish do not read tide tables; the coast is longer the closer you look; salt preserves stories as well "
        "as meat; calm days are when the work is done; nobody owns a beach at high tide",
        arts="mending nets; tending a lamp; reading the swell; boiling salt",
    ),
    Topic(
        name="birds",
        things="heron, nest, feather, swallow, egg, crow, flock, wing, birdsong, hedge",
        stuff="down, seed, birdlime, twilight, migration",
        places="the reed bed; the hide; the bell tower; the far marsh",
        trades="bird watcher, falconer, warden, illustrator",
        traits="migrating, speckled, shy, noisy, swift, perched, rare",
        did="sat in the hide until the light failed; drew each feather to scale; ringed a swallow and let it go; "
        "noted the first cuckoo in the margin; climbed the tower to count nests; fed the robin from a glove; followed "
        "the crows to the stubble; returned a fallen chick to the ledge",
        befell="returned to the same beam; rose from the marsh at once; sang before the rain; was smaller than the "
        "drawing; left in September; built with horsehair",
        claims="birds are the calendar of people without one; a feather is a solved problem; you see more when you "
        "stop looking; flocks have no leader and still turn; a nest is architecture without a plan; names change "
        "faster than songs; patience is the only lens that matters; the common bird is the least known",
        arts="counting a flock; drawing feathers; sitting still; learning songs by ear",
    ),
    Topic(
        name="dogs and horses",
        things="horse, dog, saddle, stable, lead, bridle, puppy/puppies, hoof/hooves, carriage, kennel",
        stuff="oats, leather, straw, trust, liniment",
        places="the stable; the paddock; the coach house; the village green",
        trades="groom, coachman/coachmen, dog trainer, saddler",
        traits="stubborn, faithful, young, tired, chestnut, lame, clever",
        did="walked the horse until it cooled; taught the dog to ignore geese; oiled the bridle every Friday; slept "
        "in the straw during the storm; fed oats from an open hand; chose the quiet mare; whistled once and waited; "
        "bandaged the foreleg with a scarf",
        befell="refused the gate three times; came home alone; recognised the voice; pulled to the left; shed all "
        "over the carriage; limped for a week",
        claims="an animal hears the tone before the word; trust is built at walking pace; a stubborn horse is often a "
        "cautious one; dogs forgive everything but confusion; the reins are for steering yourself; habit is kinder "
        "than force; every stable has one philosopher; fear travels down the rope",
        arts="grooming a horse; training a dog; cleaning tack; reading an animal's ears",
    ),
    Topic(
        name="stars",
        things="star, telescope, comet, eclipse, star chart, planet, observatory/observatories, orbit, night, meteor",
        stuff="starlight, darkness, arithmetic, dew, brass",
        places="the observatory; the flat roof; the dark field; the lens room",
        trades="astronomer, chart maker, navigator, calculator",
        traits="faint, distant, bright, cloudless, wandering, cold, red",
        did="followed the comet for nineteen nights; wiped the dew from the lens; corrected the chart by a hair; "
        "explained the eclipse with two oranges; computed the orbit by hand; wrapped the telescope in a blanket; "
        "named a faint star after the cook; waited for a gap in the cloud",
        befell="rose later each evening; was brighter than predicted; hid behind the chimney; returned after a "
        "lifetime; blurred near the edge; set before supper",
        claims="darkness is the astronomer's raw material; most discoveries are corrections; the sky is a clock "
        "without hands; a small telescope used nightly beats a great one used yearly; distance is a kind of history; "
        "arithmetic is how we see what we cannot; clouds are fair to everyone; wonder does not wear out",
        arts="charting stars; grinding a mirror; computing an orbit; waiting for dark",
    ),
)
