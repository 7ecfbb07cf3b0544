"""Values that the embedded articles are about: lists of things, by kind."""

from functools import cache

from suites.corpora.embedded.numbers import in_words
from suites.corpora.embedded.topic import split_words, with_article

_LISTS = {
    "trade": "baker, tanner, ropemaker, fiddler, glazier, saddler, cooper, midwife, notary, ferryman, beekeeper, "
    "tinker, lamplighter, chandler, hatter, weaver, mason, brewer, gravedigger, peddler, barber, fletcher, miller, "
    "thatcher, wheelwright, potter, umbrella maker, clockmaker, dancing master, cartographer",
    "river": "Alder, Brane, Calloway, Dorn, Esk, Fennel, Garrow, Hessel, Irra, Jossen, Kelm, Lunder, Marrow, Nith, "
    "Orrin, Pellow, Quern, Rill, Sarn, Tammel, Ulver, Vennet, Warrow, Yssel, Zarn, Ambrel, Corrent, Drisk, Ockle, "
    "Sedge",
    "day": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday",
    "goods": "felt hats, brass buttons, goose quills, wax candles, linen thread, fishing nets, clay pipes, horn "
    "combs, straw baskets, leather gloves, wooden clogs, copper kettles, playing cards, barrel hoops, sewing "
    "needles, salted herring, smoked cheese, roofing slates, door locks, sheep bells, mustard, saffron, vinegar, "
    "rope ladders, tin whistles, mattresses, umbrellas, sugared almonds, lamp wicks",
    "material": "limestone, sandstone, granite, slate, chestnut wood, larch, walnut, pear wood, wrought iron, "
    "bronze, pewter, zinc, baked clay, whalebone, basalt, flint, cedar, ash wood, boxwood, oyster shell, green "
    "marble, hornbeam, alabaster, tufa, blackthorn, maple",
    "building": "tannery, granary, chapel, stable, brewery, tollhouse, bathhouse, smokehouse, armoury, convent, "
    "sawmill, icehouse, dovecote, customs shed, hayloft, dance hall, pawnshop, powder store, ropewalk, boathouse, "
    "bakery, forge, theatre, wash house",
    "hall": "Salt House, Old Mint, Golden Anchor, Corn Exchange, White Abbey, Fish Hall, Weigh House, Blue Lion, "
    "Drapers Hall, Red Cellar, Winter Chapel, Bell Foundry, Upper Arcade, Lantern Inn, Barley Store, Orange House, "
    "Ferry Inn, Wool Exchange, Stag Hotel, Silver Court, Paper Mill, Moon Gate, Judges Lodge, Swan Theatre",
    "dish": "eel soup, plum dumplings, pickled turnips, walnut cake, roast goose, barley porridge, onion tart, "
    "smoked trout, lentil stew, apple fritters, cabbage rolls, honey biscuits, nettle broth, rabbit pie, bean salad, "
    "goat cheese, buckwheat pancakes, stuffed peppers, poppy seed rolls, cherry soup, fried parsnips, leek pudding, "
    "quince jelly, mutton pasties, radish salad",
    "animal": "heron, badger, otter, hedgehog, wild boar, stork, weasel, lynx, donkey, goose, toad, beaver, raven, "
    "magpie, squirrel, rooster, salamander, camel, peacock, porcupine, unicorn, dolphin, crab, tortoise",
    "object": "thimble, hourglass, ladle, candlestick, inkwell, teapot, walking stick, snuffbox, lantern, mirror, "
    "birdcage, sundial, goblet, spinning top, doorknob, music box, weather vane, compass, keyring, footstool, "
    "nutcracker, padlock, hairbrush, pocketknife, chess king, telescope, trumpet, wallet, paperweight, salt cellar",
    "colour": "crimson, scarlet, turquoise, violet, ochre, emerald, saffron yellow, indigo, rust brown, ivory, pale "
    "pink, olive green, sky blue",
    "month": "January, February, March, April, May, June, July, August, September, October, November, December",
    "vessel": "flat ferry, raft, rowing boat, punt, washtub, coracle, barge, dugout, skiff, pontoon, sailing dinghy",
    "quarter": "north, south, east, west, north-east, south-west, north-west, south-east",
    "collection": "snail shells, bird eggs, door handles, bottle stoppers, pressed ferns, sea urchins, old keys, "
    "feathers, postmarks, moths, lullabies, pebbles, proverbs, hat pins, playbills, meteorites, bookplates, cloud "
    "shapes, beetles, ships in bottles, thunderstorms",
    "dispute": "a stray pig, the width of a gate, a stolen bell, the right to gather acorns, a misspelled word, the "
    "colour of a door, a broken dam, the price of eggs, an overhanging branch, the use of a well, a borrowed ladder, "
    "the seating at a funeral, the date of a holiday, a lost boundary stone, the height of a wall, an unpaid debt of "
    "one goose, the name of an island, a window facing the street",
    "fruit": "grey pear, winter apple, blue plum, sour cherry, medlar, quince, golden apricot, red currant, striped "
    "gooseberry, late peach, yellow mirabelle, mulberry",
    "flour": "acorns, chestnuts, dried peas, turnips, bran, sawdust, lentils, potato peel, chickpeas, pumpkin seeds",
    "instruments": "flutes, bagpipes, tambourines, fiddles, trombones, cowbells, accordions, mandolins, zithers, "
    "clarinets, kazoos, hurdy-gurdies, hunting horns, oboes",
    "task": "sharpening quills, sorting nails, sweeping chimneys, carrying water, plucking geese, untangling string, "
    "copying numbers, polishing spoons, peeling willow rods, sieving sand, folding paper, counting beans, grinding "
    "chalk, winding wool, sanding boards, waxing thread",
    "guest": "eldest aunt, youngest child, bride's uncle, village doctor, last guest to arrive, oldest neighbour, "
    "groom's teacher, loudest singer, tallest bridesmaid, first to leave, cook, family dog",
    "clue": "a smell of onions, muddy footprints, a lost glove, a trail of flour, an unpaid bill, a torn sleeve, a "
    "dropped ticket, wet gunpowder, a barking dog, a squeaking boot, a strand of red wool, bad spelling",
    "smell": "wet hay, cinnamon, burnt sugar, cloves, pepper, peat smoke, old books, aniseed, mushrooms, lavender",
    "illness": "hiccups, gout, toothache, sleepwalking, chilblains, fever, stammering, warts, seasickness, "
    "forgetfulness, snoring, nosebleeds",
    "folly": "borrowing, impatience, gambling, flattery, singing indoors, false modesty, hasty marriage, cold baths, "
    "idle gossip, cheap glue, early rising, foreign travel",
    "part": "main axle, upper gallery, north window, staircase, counterweight, roof beam, second arch, cellar door, "
    "drain, iron collar, outer rim, hinge, crank, inner wall, lower floor, winding drum",
    "nickname": "the Grumbler, Big Susan, the Old Deaf One, Sleepy Head, the Duchess, Thunder Pot, the Widow, "
    "Grandfather, the Latecomer, Iron Lung, the Chatterbox, Crooked Anna, the Bishop's Cough, Tin Tongue, Lazy Jack, "
    "the Peacemaker",
    "ground": "blue clay, quicksand, peat, river gravel, rotten timber, chalk, oyster shells, broken pottery, yellow "
    "loam, wet ash",
    "coin": "copper penny, silver groat, brass farthing, tin token, clipped shilling, half crown, bent sixpence, "
    "wooden token",
    "exempt": "midwives, chimney sweeps, left-handed people, widows of sailors, bell ringers, organ grinders, "
    "students of theology, unmarried brewers, night watchmen, people carrying a ladder, schoolteachers, twins",
    "oil": "walnut oil, goose fat, linseed oil, beeswax, mutton tallow, whale oil, poppy oil, butter, fish oil, "
    "neatsfoot oil, lard, almond oil",
    "partner": "net mender, violin teacher, customs officer, laundress, seed merchant, goose girl, stonecutter, "
    "telegraph clerk, cellist, cheese inspector, map seller, lace maker, locksmith, bookbinder",
    "model": "matchsticks, walnut shells, playing cards, sugar cubes, cork, fish bones, straw, buttons, chalk, "
    "toothpicks, marzipan, clothes pegs",
    "plant": "parsley, thyme, tomatoes, geraniums, tobacco, pumpkins, sweet peas, chives, strawberries, radishes, "
    "lemons",
    "flaw": "too comfortable, slightly crooked, far too small, suspiciously new, badly signed, painted on the wrong "
    "side, louder than necessary, made by the left hand, a day late, unpleasantly shiny, hollow, upside down",
    "bell": "cracked, wooden, glass, borrowed, silver, muffled",
    "money_unit": "crowns, marks, florins, ducats, thalers, guilders, sovereigns, pieces of silver",
}


@cache
def value_list(kind: str) -> tuple[str, ...]:
    """All values of a kind; KeyError where the kind is not a list."""
    if kind == "a_trade":
        return tuple(with_article(trade) for trade in value_list("trade"))
    if kind == "an_animal":
        return tuple(with_article(animal) for animal in value_list("animal"))
    if kind == "a_coin":
        return tuple(with_article(coin) for coin in value_list("coin"))
    if kind == "building_in":
        return tuple(f"the {hall}" for hall in value_list("hall"))
    if kind == "weekday":
        return tuple(f"{day}s" for day in value_list("day"))
    if kind == "instrument":
        return value_list("instruments")
    if kind == "count":
        return tuple(in_words(number) for number in (*range(21, 100), *range(103, 400, 7)))
    if kind == "small_days":
        return tuple(in_words(number) for number in range(3, 13))
    return split_words(_LISTS[kind])
