"""Vocabulary of the embedded prose, part four: work, thought and how people live together."""

from suites.corpora.embedded.topic import Topic

TOPICS = (
    Topic(
        name="work",
        things="task, deadline, meeting, mistake, plan, draft, colleague, tool, list, schedule",
        stuff="effort, progress, routine, ambition, fatigue",
        places="the workshop; the office; the long corridor; the project room",
        trades="manager, founder, designer, engineer",
        traits="urgent, simple, unfinished, tedious, ambitious, useful, hidden",
        did="finished the dull part first; cancelled the meeting and fixed the fault; threw away a week of drafts; "
        "worked through the noise; asked the newest person what was wrong; wrote the plan on one page; shipped it "
        "before it was ready; went for a walk and came back with the answer",
        befell="took twice as long as promised; was solved in the shower; grew until nobody understood it; had been "
        "done before; mattered less than expected; shaped everything after it",
        claims="most delays are decisions in disguise; a small working thing beats a large planned one; busy is not "
        "the opposite of lazy; the second version is where people learn; good tools disappear in the hand; ambition "
        "without a schedule is a mood; nobody notices the fault that was prevented; energy follows clarity",
        arts="starting before you are ready; cutting scope; asking for help; finishing things",
    ),
    Topic(
        name="ideas",
        things="idea, theory/theories, experiment, notebook, hypothesis/hypotheses, argument, insight, "
        "paradox/paradoxes, sketch/sketches, discovery/discoveries",
        stuff="doubt, curiosity, evidence, imagination, logic",
        places="the laboratory; the coffee house; the lecture hall; the study",
        trades="scientist, inventor, philosopher, essayist",
        traits="strange, obvious, promising, wrong, original, half-formed, popular",
        did="wrote the idea on a napkin; tried the opposite to see what broke; kept a notebook of wrong guesses; "
        "changed sides in the middle of the argument; tested the theory on a bucket; explained it badly to a friend; "
        "waited a year before publishing; borrowed a method from another field",
        befell="looked silly at first; was discovered twice; survived every test but one; fitted on a postcard; "
        "annoyed the experts; explained too much",
        claims="new ideas look like mistakes from the front; the obvious is invisible until someone says it; a theory "
        "that explains everything predicts nothing; doubt is a tool and not a mood; questions age better than "
        "answers; the best notes are written to a stranger; originality is often good copying from far away; surprise "
        "is data",
        arts="keeping a notebook; testing a guess; changing your mind; arguing in good faith",
    ),
    Topic(
        name="memory",
        things="memory/memories, photograph, diary/diaries, name, anniversary/anniversaries, souvenir, habit, "
        "story/stories, face, list",
        stuff="nostalgia, detail, sleep, repetition, forgetting",
        places="the family album; the old street; the attic trunk; the childhood kitchen",
        trades="historian, storyteller, biographer, witness/witnesses",
        traits="vivid, vague, early, shared, false, precious, faded",
        did="remembered the song and forgot the singer; wrote the names on the back of the photograph; told the story "
        "differently each time; kept a diary for eleven days; recognised the house by its smell; rehearsed the list "
        "on the stairs; mistook a dream for a birthday; saved a ticket for no reason",
        befell="returned without warning; belonged to someone else; grew brighter with age; had the wrong year on it; "
        "was told at every wedding; faded at the corners",
        claims="memory is an editor with a deadline; what is repeated is kept; the first version wins; forgetting is "
        "how the mind tidies; smells are the oldest archive; two people never remember the same day; a list is a "
        "memory that cannot lie; details survive where meaning does not",
        arts="keeping a diary; telling old stories; learning names; sorting photographs",
    ),
    Topic(
        name="friendship",
        things="friend, visit, promise, quarrel, apology/apologies, secret, joke, neighbour, supper, favour",
        stuff="trust, company, laughter, advice, kindness",
        places="the garden wall; the corner table; the front step; the long bench",
        trades="neighbour, host, matchmaker, companion",
        traits="loyal, old, honest, awkward, generous, distant, quiet",
        did="came with soup and no questions; apologised before the tea was cold; kept the secret for a decade; "
        "borrowed a ladder and returned a cake; listened without offering advice; walked the long way home together; "
        "laughed at the wrong moment; forgave the debt at once",
        befell="began with a misunderstanding; survived a long silence; cost nothing and meant a great deal; ended on "
        "a staircase; was repaired by letter; needed no explanation",
        claims="advice is rarely what was asked for; an apology loses value by the hour; friends are the family of "
        "proximity and luck; trust grows in small denominations; a joke is a test of the room; loyalty is memory with "
        "a backbone; company shortens every road; kindness is seldom efficient",
        arts="listening well; making amends; keeping a secret; sharing a meal",
    ),
    Topic(
        name="travel",
        things="journey, road, inn, passport, guidebook, lantern, ferry/ferries, boot, milestone, detour",
        stuff="luggage, weariness, dust, luck, curiosity",
        places="the coach inn; the crossroads; the border post; the mountain road",
        trades="traveller, innkeeper, guide, pilgrim",
        traits="long, dusty, foreign, unexpected, tiring, famous, remote",
        did="took the wrong road and stayed a month; shared a room with a clockmaker; learned eleven words of the "
        "language; packed too many books; slept under the milestone; followed a goat to the spring; wrote home from "
        "every inn; missed the ferry and saw the fair",
        befell="took nine days on foot; led back to the same square; was better than its reputation; cost more than "
        "the house; crossed three borders; ended at the sea",
        claims="the detour is the part that is told; travel is a tax on certainty; a stranger asks better questions; "
        "tired feet see less; every inn is the centre of some map; you carry your weather with you; the return is a "
        "different road; maps do not show the smell of places",
        arts="packing light; asking the way; sleeping anywhere; crossing a border",
    ),
    Topic(
        name="language",
        things="word, dictionary/dictionaries, accent, proverb, sentence, translation, verb, alphabet, rumour, slogan",
        stuff="grammar, spelling, meaning, slang, rhetoric",
        places="the printing house; the debating room; the translator's desk; the school gate",
        trades="translator, linguist, editor, speechwriter",
        traits="foreign, short, precise, obsolete, borrowed, poetic, clumsy",
        did="translated the joke and lost the laugh; collected words for kinds of mud; cut the sentence in half; "
        "spoke slowly to the customs officer; looked up a word and forgot why; copied proverbs onto cards; corrected "
        "the sign in pencil; found no word for the colour",
        befell="meant something else in the valley; was spelled five ways; vanished within a generation; could not be "
        "translated; sounded rude to strangers; travelled with the traders",
        claims="a short word does the heavy lifting; grammar is what is left of old habits; translation is a form of "
        "close reading; every dialect is somebody's standard; a slogan is a thought with the doors locked; meaning "
        "leaks; the reader finishes every sentence; accents are maps",
        arts="cutting a sentence; learning verbs; collecting proverbs; translating a poem",
    ),
    Topic(
        name="numbers",
        things="number, sum, abacus/abacuses, proof, fraction, table, estimate, puzzle, column, remainder",
        stuff="arithmetic, chance, logic, precision, error",
        places="the counting house; the blackboard; the tally room; the census office",
        trades="mathematician, census taker, actuary/actuaries, bookkeeper",
        traits="exact, rough, prime, enormous, negative, tidy, surprising",
        did="added the column from bottom to top; proved it twice and doubted it once; counted the town in four days; "
        "guessed the jar to within six; taught division with pears; rounded in favour of the poor; drew the proof in "
        "sand; found the error in the first line",
        befell="did not add up; was closer than the estimate; filled a whole slate; repeated forever; surprised the "
        "council; left a remainder of one",
        claims="an estimate made early beats a fact that comes late; counting is the beginning of caring; a proof is "
        "a story in which nothing is missing; large numbers make people careless; averages hide the interesting "
        "person; zero was a hard invention; chance is lumpy; precision is not the same as truth",
        arts="estimating a crowd; checking a sum; drawing a proof; counting twice",
    ),
    Topic(
        name="health and sleep",
        things="nap, dream, pillow, habit, walk, breakfast, alarm, cold, blanket, yawn",
        stuff="rest, sleep, exercise, insomnia, fresh air",
        places="the spare room; the hammock; the towpath; the quiet ward",
        trades="night nurse, watchman/watchmen, lamplighter, baker",
        traits="restless, deep, short, cosy, early, healthy, stiff",
        did="walked to the mill and back before breakfast; slept through the parade; moved the bed to the north wall; "
        "gave up coffee for a fortnight; dreamed of an empty station; woke at the same minute every day; opened the "
        "window in January; napped under the counter",
        befell="lasted nine hours; was interrupted by geese; cleared the head; came true in part; ended with a cramp; "
        "cost nothing",
        claims="sleep is the cheapest medicine; a walk is a thought with legs; mornings belong to the prepared; "
        "tiredness argues badly; dreams are the mind sweeping up; habits are easier to start than to notice; the body "
        "keeps its own calendar; nobody boasts of resting well",
        arts="walking daily; sleeping early; resting without guilt; waking slowly",
    ),
    Topic(
        name="art",
        things="painting, canvas/canvases, brush/brushes, portrait, statue, sketchbook, frame, palette, easel, "
        "landscape",
        stuff="paint, light, colour, charcoal, varnish",
        places="the studio; the gallery; the north window; the framing shop",
        trades="painter, sculptor, model, collector",
        traits="unfinished, famous, gloomy, luminous, stolen, tiny, abstract",
        did="painted the same tree in every month; scraped the canvas clean; sold a sketch for a sack of coal; mixed "
        "a grey from three colours; waited for the north light; drew the mayor as a heron; left the hands for last; "
        "framed the failure and hung it",
        befell="was hung upside down; darkened over the years; sold for the price of the frame; looked better from "
        "the stairs; offended the bishop; was copied by students",
        claims="taste is trained by looking twice; a finished picture is an abandoned one; shadows are the drawing; "
        "copying is how hands learn; style is the mistakes you keep; a frame is an argument for attention; colour is "
        "relative; the subject is an excuse",
        arts="drawing from life; mixing greys; stretching canvas; looking slowly",
    ),
    Topic(
        name="government",
        things="council, vote, tax/taxes, mayor, decree, committee, speech/speeches, ballot, reform, minister",
        stuff="power, compromise, paperwork, ceremony, opposition",
        places="the town hall; the council chamber; the polling station; the balcony",
        trades="mayor, clerk, minister, reformer",
        traits="unpopular, public, secret, unanimous, costly, local, overdue",
        did="voted against the fountain; read the decree in a small voice; taxed windows and then chimneys; formed a "
        "committee about committees; kept the minutes in rhyme; resigned and was re-elected; opened the granary in "
        "the hard year; lost by a single ballot",
        befell="passed by one vote; was repealed within a year; cost more than the flood; pleased the bakers only; "
        "was debated until dawn; died in committee",
        claims="a committee is a way of sharing blame; every tax draws a map of habits; power is mostly being asked; "
        "reform arrives dressed as bookkeeping; a speech is longest where it is emptiest; the minutes are the memory "
        "of the powerful; compromise leaves everyone equally awake; local matters are the largest ones",
        arts="counting votes; writing minutes; drafting a decree; chairing a meeting",
    ),
    Topic(
        name="invention",
        things="machine, lever, engine, pump, gadget, patent, workshop/workshops, prototype, valve, wheel",
        stuff="grease, steam, copper, ingenuity, friction",
        places="the shed; the patent office; the pump house; the test bench",
        trades="inventor, mechanic, machinist, instrument maker",
        traits="noisy, ingenious, useless, patented, leaking, improved, portable",
        did="built a pump from an organ pipe; oiled the wheel that did not squeak; patented the wrong half; tested "
        "the valve with soapy water; drew the engine on the tablecloth; replaced the spring with a weight; sold the "
        "machine and kept the plans; made it smaller every year",
        befell="worked on the ninth attempt; frightened the geese; ran for a minute and stopped; saved an hour a day; "
        "was forgotten in a barn; leaked at the seam",
        claims="a machine is a frozen decision; friction is the universal tax; the first useful version is ugly; "
        "parts that are not there cannot break; an inventor is a repairer with ambitions; patents protect yesterday; "
        "simplicity is expensive to reach; every gadget creates a new chore",
        arts="building a prototype; fixing a pump; removing parts; testing to failure",
    ),
    Topic(
        name="childhood",
        things="toy, swing, birthday, treehouse, nursery rhyme, marble, bedtime, snowball, costume, bicycle",
        stuff="mud, imagination, sweets, wonder, homework",
        places="the treehouse; the sandpit; the back garden; the toy shop",
        trades="nanny/nannies, toy maker, teacher, grandparent",
        traits="muddy, favourite, imaginary, tiny, brave, broken, secret",
        did="dug a hole to the other side of the world; traded three marbles for a whistle; slept in the treehouse "
        "once; learned to ride before learning to stop; buried a box under the swing; asked why eleven times; built a "
        "fort from chairs; outgrew the coat by spring",
        befell="broke on the first day; was loved until it fell apart; lasted the whole summer; rolled under the "
        "stairs; had a name and a history; came back from the river",
        claims="children are early scientists; boredom is where games come from; a secret place needs no roof; why is "
        "a complete sentence; the small world is the detailed one; play is practice without fear; a broken toy is two "
        "toys; adults forget how tall tables are",
        arts="climbing trees; inventing games; telling bedtime stories; learning to ride",
    ),
)
