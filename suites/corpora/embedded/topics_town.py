"""Vocabulary of the embedded prose, part three: town life, learning and the household."""

from suites.corpora.embedded.topic import Topic

TOPICS = (
    Topic(
        name="letters",
        things="letter, envelope, stamp, postcard, reply/replies, signature, mailbag, parcel, address/addresses, seal",
        stuff="ink, sealing wax, news, handwriting, gossip",
        places="the post office; the sorting room; the writing desk; the mail coach",
        trades="postmaster, letter writer, courier, clerk",
        traits="unopened, long, late, folded, unsigned, formal, tender",
        did="read the letter standing in the rain; answered every question but one; sealed the envelope with candle "
        "wax; kept the replies in a biscuit tin; addressed it to the wrong county; wrote on both sides of the paper; "
        "delivered the parcel by bicycle; tore up the third draft",
        befell="arrived after the wedding; was opened by mistake; crossed the mountains twice; was signed with "
        "initials only; lay behind the counter for a year; changed the plan",
        claims="a letter is a visit without shoes; handwriting tells what words conceal; the late reply says "
        "something too; distance improves some friendships; paper makes people braver; a postscript is often the "
        "message; silence also needs an address; brevity is a courtesy that takes time",
        arts="writing by hand; sorting mail; answering promptly; reading between lines",
    ),
    Topic(
        name="schools",
        things="school, lesson, blackboard, pupil, slate, question, desk, exam, bell, reading book",
        stuff="chalk, homework, arithmetic, mischief, attention",
        places="the schoolroom; the back row; the playground; the reading corner",
        trades="teacher, caretaker, inspector, tutor",
        traits="noisy, difficult, patient, forgotten, clever, strict, small",
        did="wrote one problem on the board and left the room; taught fractions with a cake; rang the bell early; "
        "learned the names in a single day; read aloud to the restless ones; marked the essays on the ferry; moved "
        "the desks into a circle; answered with another question",
        befell="lasted the whole afternoon; was remembered for decades; confused even the inspector; started in a "
        "barn; ended in laughter; needed a new roof",
        claims="a good question outlives its answer; children copy tone before content; you understand what you can "
        "explain to a tired person; the quiet pupil is not always lost; examinations measure the examiner too; "
        "curiosity survives most schools; repetition is only dull when it is thoughtless; mistakes are information",
        arts="asking questions; explaining simply; learning by heart; marking fairly",
    ),
    Topic(
        name="markets",
        things="market, stall, coin, bargain, scale, basket, price, cheese, customer, lantern",
        stuff="credit, change, bustle, spice, cloth",
        places="the market square; the fish row; the weigh house; the covered arcade",
        trades="merchant, stallholder, peddler, cheesemonger",
        traits="busy, cheap, honest, crowded, fresh, foreign, weekly",
        did="sold the last cheese at a loss; weighed the coin instead of counting it; haggled out of politeness; set "
        "up the stall before sunrise; gave credit to a stranger; shouted prices until noon; wrapped the fish in old "
        "news; bought back the same lamp twice",
        befell="doubled in price by evening; moved to Thursdays; was worth more than it cost; went unsold for a "
        "month; drew a crowd; closed at the first drops of rain",
        claims="a price is a conversation; crowds know things that no one in them knows; trust is the cheapest form "
        "of credit; the honest scale needs no sign; scarcity is often just distance; every bargain has two winners or "
        "two losers; reputation is stock that does not spoil; people buy the seller first",
        arts="setting a price; judging weight by hand; bargaining politely; keeping accounts",
    ),
    Topic(
        name="libraries",
        things="book, shelf/shelves, catalogue, reader, ladder, atlas/atlases, margin note, lamp, chapter, volume",
        stuff="dust, silence, knowledge, leather, paper",
        places="the reading room; the map cabinet; the stacks; the lending desk",
        trades="librarian, archivist, scholar, binder",
        traits="dusty, forgotten, overdue, leather, heavy, rare, illustrated",
        did="shelved the atlas under fiction; found a pressed flower in chapter nine; lent the rare book without a "
        "receipt; copied the margin notes; slept between the stacks; repaired the spine with linen; read one shelf "
        "from end to end; wrote the catalogue on cards",
        befell="was returned after thirty years; fell open at the same page; had no title; was borrowed by everyone "
        "and read by few; smelled of tobacco; survived the flood upstairs",
        claims="a catalogue is a theory of the world; the wrong shelf is where discoveries happen; borrowed books are "
        "read faster; margins hold the second author; memory needs furniture; a library is a promise to people not "
        "yet born; silence is a public service; most knowledge is knowing where to look",
        arts="cataloguing by hand; reading slowly; mending spines; finding a reference",
    ),
    Topic(
        name="maps",
        things="map, compass/compasses, border, road, legend, contour, survey, scale bar, coastline, village",
        stuff="ink, parchment, distance, terrain, error",
        places="the drawing office; the survey camp; the boundary stone; the chart room",
        trades="surveyor, mapmaker, explorer, draughtsman/draughtsmen",
        traits="inaccurate, folded, coloured, blank, detailed, old, official",
        did="walked the boundary with a chain; invented a hill to fill the corner; corrected the coast by moonlight; "
        "traced the road from memory; argued about the name of a stream; drew north at the bottom; paced out the "
        "distance between wells; left the unknown part white",
        befell="was wrong by half a mile; folded the wrong way; showed a bridge that was never built; started a "
        "quarrel; saved a day of walking; omitted the mill",
        claims="every map leaves out almost everything; a blank is more honest than a guess; names are the first "
        "buildings; the scale decides what is true; borders are drawn by people who do not carry water; error is a "
        "distance too; a good map makes itself unnecessary; lost is only a strong opinion about elsewhere",
        arts="pacing a distance; drawing contours; naming places; folding a map",
    ),
    Topic(
        name="law",
        things="contract, witness/witnesses, verdict, oath, quarrel, fine, petition, court, clause, signature",
        stuff="evidence, custom, justice, paperwork, doubt",
        places="the courtroom; the records office; the notary's desk; the council chamber",
        trades="judge, notary/notaries, bailiff, advocate",
        traits="fair, sealed, lengthy, disputed, ancient, clear, unwritten",
        did="read the contract aloud twice; asked the witness to begin again; settled the quarrel over a well; fined "
        "the mayor a small sum; crossed out one word of the oath; copied the petition for every household; adjourned "
        "until the snow melted; ruled for the goat's owner",
        befell="was decided in an afternoon; turned on a comma; divided two families; rested on a single witness; was "
        "never enforced; expired unnoticed",
        claims="a rule is a memory of a quarrel; clarity is kinder than mercy; an exception is a rule in training; "
        "the law is slow because people are quick; evidence does not raise its voice; custom governs where nobody "
        "looks; a fair process comforts even the loser; ambiguity always finds a customer",
        arts="reading a contract; weighing testimony; drafting a clause; settling out of court",
    ),
    Topic(
        name="medicine",
        things="remedy/remedies, fever, bandage, clinic, patient, thermometer, cough, prescription, ward, herb",
        stuff="medicine, rest, soap, vinegar, worry",
        places="the clinic; the apothecary; the sick room; the herb garden",
        trades="doctor, midwife/midwives, apothecary/apothecaries, nurse",
        traits="bitter, effective, feverish, careful, mild, contagious, calm",
        did="washed the instruments in boiling water; sat up with the patient until morning; prescribed rest and was "
        "ignored; labelled each bottle twice; rode through the snow to a birth; admitted not knowing the cause; "
        "opened all the windows; wrote down every pulse",
        befell="passed within a week; tasted worse than the illness; returned with the damp; healed without a scar; "
        "worked for reasons nobody understood; spread along the river",
        claims="most illnesses end by themselves and most doctors know it; clean hands are the oldest cure; a name "
        "for the pain is half a relief; rest is hard to sell; the patient is the first instrument; a careful record "
        "is a slow microscope; prevention leaves no grateful customers; worry has a temperature",
        arts="listening to a chest; washing hands; keeping case notes; mixing a remedy",
    ),
    Topic(
        name="theatre",
        things="play, curtain, costume, stage, rehearsal, mask, line, trapdoor, audience, playbill",
        stuff="paint, applause, nerves, velvet, candlelight",
        places="the stage; the wings; the costume store; the upper gallery",
        trades="actor, playwright, prompter, stagehand",
        traits="dramatic, painted, comic, tragic, rehearsed, forgotten, velvet",
        did="whispered the line a second too late; painted a forest on bed sheets; wore the crown backwards; rewrote "
        "the ending in the interval; fell through the trapdoor; sewed forty buttons in an hour; bowed to an empty "
        "gallery; learned all the parts to be safe",
        befell="ran for two nights; ended in the wrong act; was cheered from the street; caught on the scenery; lost "
        "its second page; needed a louder ghost",
        claims="an audience is a collaborator who arrives late; comedy is carpentry; a pause must be earned; costumes "
        "know how to walk; everyone backstage believes they saved the evening; nerves are a form of respect; the "
        "prompter is the only one who listens; a small stage makes large voices",
        arts="learning lines; painting scenery; waiting in the wings; writing a last act",
    ),
    Topic(
        name="railways",
        things="train, platform, signal, timetable, whistle, carriage, ticket, tunnel, junction, suitcase",
        stuff="steam, coal, luggage, delay, iron",
        places="the platform; the signal box; the waiting room; the engine shed",
        trades="station master, driver, signalman/signalmen, porter",
        traits="late, slow, crowded, express, empty, rattling, punctual",
        did="held the express for a sleeping child; oiled the signal wires; ran along the platform with a hat; read "
        "the timetable for pleasure; shovelled coal through two counties; lost the ticket and found a friend; waved a "
        "green flag at nobody; swept the waiting room at midnight",
        befell="left without the driver; stopped for a cow; arrived on time to general surprise; waited at the "
        "junction; emptied at the coast; shook the cups in every kitchen",
        claims="a timetable is a work of fiction with good intentions; punctuality is a form of kindness; junctions "
        "make towns; speed shrinks the country and enlarges the world; waiting rooms are honest places; the driver "
        "sees the least of the view; noise becomes silence if it is regular; every delay is somebody's gift",
        arts="reading a timetable; setting signals; packing a suitcase; catching the last train",
    ),
    Topic(
        name="money",
        things="ledger, debt, wage, loan, purse, receipt, investment, bank, budget, gift",
        stuff="interest, savings, credit, thrift, luck",
        places="the counting house; the pawnshop; the bank counter; the strong room",
        trades="banker, accountant, moneylender, tax collector",
        traits="careful, unpaid, generous, hidden, small, risky, silver",
        did="entered the loss in red ink; lent money and never mentioned it; counted the savings under the bed; paid "
        "the debt in turnips; balanced the ledger by candle; refused interest from a widow; bought a share in a "
        "doubtful ship; kept receipts for everything but love",
        befell="doubled in seven years; was repaid in firewood; vanished in a bad season; surprised the heirs; was "
        "smaller than the rumour; came due in winter",
        claims="a budget is a diary of intentions; debt is time bought in advance; rich people count and poor people "
        "calculate; the cheapest thing is often the second purchase; luck likes to be prepared for; interest works on "
        "Sundays; a gift has no ledger; price and value meet less often than supposed",
        arts="balancing a ledger; saving slowly; lending wisely; asking for a raise",
    ),
    Topic(
        name="houses",
        things="house, door, roof, chimney, staircase, window seat, key, cellar, attic, brick",
        stuff="plaster, damp, paint, lime, firewood",
        places="the front step; the cellar; the attic; the back yard",
        trades="builder, thatcher, plasterer, landlord",
        traits="draughty, tall, crooked, whitewashed, empty, comfortable, locked",
        did="moved the door three feet to the left; thatched the roof before the storms; found a shoe inside the "
        "wall; whitewashed the cellar; slept in the unfinished kitchen; carried bricks in an apron; painted the "
        "shutters green; lost the only key",
        befell="settled with a groan; let in the morning sun; burned more wood than it should; passed to a nephew; "
        "had no straight corner; smelled of lime",
        claims="a house is never finished, only paused; damp is patient; the kitchen decides who visits; rooms shrink "
        "when they are furnished; a good roof is invisible; stairs remember the feet; comfort is mostly the absence "
        "of draughts; every builder blames the one before",
        arts="laying bricks; thatching a roof; fixing a leak; arranging a room",
    ),
    Topic(
        name="games",
        things="game, chessboard, card, dice/dice, rule, puzzle, kite, winner, wager, score",
        stuff="luck, strategy, boredom, laughter, chalk",
        places="the corner table; the bowling green; the card room; the village green",
        trades="player, referee, toy maker, gambler",
        traits="unfair, clever, endless, childish, close, friendly, complicated",
        did="gave up a rook and smiled; shuffled the cards with one hand; changed the rules after losing; flew the "
        "kite above the church; carved dice from a bone; played to a draw for the ninth time; kept score on the wall; "
        "let the youngest win",
        befell="lasted until the lamp failed; ended in a draw; was decided by a sneeze; had too many rules; spread to "
        "three villages; blew into the river",
        claims="a game is an agreement to be surprised; losing well is a skill; rules are the toys of adults; luck is "
        "fairest over a long evening; a puzzle wants to be solved slowly; the best move is often to wait; children "
        "negotiate better than ministers; a draw pleases nobody and teaches both",
        arts="losing with grace; solving puzzles; inventing rules; flying a kite",
    ),
)
