"""Sentence frames of the embedded prose: one frame a line, by the part it plays in a paragraph."""

OPENINGS = """
    {when}, {HERO} of {TOWN} {act}
    {HERO} had been {a_trade} in {TOWN} for {years} years before anyone asked about the {X}
    there was once {a_trade} in {TOWN}, {HERO} by name, who {act} and never explained why
    the {X} that stands {where} was made by {HERO} in {year}, or so the {trades} say
    anyone who writes about {art} has to begin with {HERO}, who {act} {when}
    in {TOWN} they still tell how {HERO} {act} {when}
    {HERO} and {FRIEND} had not spoken since {year}, when one of them {act}
    nothing in the early life of {HERO} suggested {a_trade}; {HE} grew up {where} and {act}
    the first thing a visitor to {TOWN} notices is the {X}, and the second is that {crowd} {response}
    I met {HERO} only once, {where}, {when}
    {claim}, and no one knew it better than {HERO}, {a_trade} from {TOWN}
    a letter from {HERO}, dated {month} {year}, mentions the {X} {small} times
    it began with {AX}; {HERO}, who {did}, had found it {where}
    among the {trades} of {TOWN} {HERO} is remembered for {a_trait} {thing} and for a single remark, that {claim}
"""

NARRATIVE = """
    {when}, {FIRST} {act}
    {FIRST} {act}, and {crowd} {response}
    {link} {FIRST} {act} {reason}
    {FIRST} {did}, {did}, and then {verb} {object}
    {when}, {a_trade} from {town} {act}, and {FIRST} {response}
    the {X} {befell}, so {FIRST} {act}
    although {the_thing} {befell}, {FIRST} {act}
    {FRIEND}, who had never liked {stuff}, {act} all the same
    {HE} {act} {reason}, and {when} {HE} did it again
    {crowd} {response} when {FIRST} {act}
    {link} the {trait} {thing} {befell}, and {crowd} {response}
    {FIRST} asked {FRIEND} for {a_thing}, but {FRIEND} only had {small} {things} and some {stuff}
    it took {HIM} {years} days and a good deal of {stuff}, and in the end the {X} {befell}
    {link} {HE} {act}
    one of the {trades}, {person}, {act}
    {when} the {X} {befell}, which {crowd} had predicted
    {FIRST} {verb} {object}, {FRIEND} {verb} {object}, and {crowd} {response}
    between {month} and {month} {HE} {act} no fewer than {small} times
    {HE} meant to keep {object}, but {the_thing} {befell}
    {FRIEND} said that {claim}; {FIRST} said nothing and {act}
    the {trades} waited {where} while {FIRST} {act}
    by the time {FRIEND} reached {town}, {FIRST} and {a_trade} were already on the road
    {HE} kept {object} {where} and showed it to nobody except {person}
    if {FIRST} had any regrets, they concerned the {X}, which {befell}
    {when}, {crowd} {response}, and {FIRST} {act}
    no sooner had {FRIEND} left than {FIRST} {act}
    {person} offered {count} coins for the {X}, and {FIRST}, {reason}, accepted
    without {stuff} there could be no {things}, so {FIRST} {act}
    {HIS} first {thing} {befell}; {HIS} second {befell}
    what {FRIEND} remembered afterwards was not the {X} but that {FIRST} {act}
"""

REFLECTION = """
    {opinion} {claim}
    {opinion} {claim}, {contrast}
    {claim}; {claim}
    {link} {claim}
    {link} {claim}, {contrast}
    {art} is {measure}
    {art} is {measure}, and {art} is {measure}
    {art} asks for {virtue} first and {virtue} second
    if {claim}, then {claim}
    the trouble with {things} is that {claim}
    {a_trade} without {virtue} is only {a_trade} in a hurry
    you can learn {art} from a book, but you learn {virtue} from {trades}
    what is true of {things} is often true of {trades} as well: {claim}
    why should {art} be {measure}?
    it is worth asking whether {claim}
    {opinion} {art} is {measure}
    in {town} they put it differently: {claim}
    there are {small} kinds of {trades}, and only one of them believes that {claim}
    the more {stuff} you have, the less you notice {virtue}, and then {claim}
    {claim}, {contrast}
    perhaps {claim}, or perhaps {claim}
    give {a_trade} enough {stuff} and the result will be {things}; give the same person {virtue} and {claim}
    nothing about {art} is obvious until you have lost {a_thing} to it
    we admire {virtue} in {trades} because {claim}
    {a_trait} {thing} proves little, {count} {trait} {things} prove more, and still {claim}
    people who dislike {art} usually lack {virtue}, not {stuff}
    the point of {art} is not the {thing} but {virtue}
    {art} and {art} have more in common than {trades} suppose, because {claim}
"""

DESCRIPTION = """
    the {X} was {trait}, {trait} and older than {place}
    {where} stood {a_trait} {thing}, {small} {things} and a heap of {stuff}
    everything smelled of {stuff} and, faintly, of {stuff}
    the {trades} of {TOWN} own {count} {things} between them, most of them {trait}
    {the_thing} {befell}, and that was the end of it
    there were {things} {where} and {things} {where}
    a plain {thing} cost {count} coins in {year}, {a_trait} one nearly twice as much
    from {place} one could see {town}, and on clear days {town}
    the road from {TOWN} to {town} passes {place} and takes {small} hours on foot
    in a good year the town used {count} barrels of {stuff}, in a bad one {small}
    on the wall hung {a_thing}, {a_thing} and a drawing of {place}
    {place} was empty except for {a_trade} and {small} {trait} {things}
    every {thing} at {place} carried a small mark that only {trades} could read
    {small} of the {things} were {trait}; the rest were {trait}
    the register for {year} lists {count} {trades}, {small} {things} and no {stuff} at all
    outside, {the_thing} {befell} while the {trades} argued about {stuff}
    {TOWN} has {small} {trades}, and {town}, which is larger, has none
    between {place} and {place} lay {stuff}, {things} and the noise of {trades}
"""

CLOSINGS = """
    and that, as far as anyone in {TOWN} can tell, is how the {X} came to be {where}
    {HERO} died in {year}, and the {X} went to {FRIEND}
    {link} {claim}
    the {X} is still there, {trait} as ever
    whether {HERO} would have agreed is another matter
    {FRIEND} told the story until {year} and changed the ending {small} times
    to this day {crowd} {response} whenever the {X} is mentioned
    if there is a moral, it is that {claim}
    after that {FIRST} {act} and was never seen {where} again
    {opinion} {claim}, and the {X} is the proof
    nobody has tried it since
    the account books of {year} say only that {FIRST} {act}
    all of it could have been avoided with a little {virtue}
    so much for {art}
"""
