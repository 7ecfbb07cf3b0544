"""General phrases of the embedded prose: one alternative a line, `{symbol}` refers to another rule."""

PHRASES = {
    "when": """
        on the first cold morning of the year
        a week before the fair
        in the spring of {year}
        late one evening in {month}
        the summer after the flood
        towards the end of the war
        on a wet Tuesday in {month}
        not long after the bells had stopped
        in the winter of {year}
        the day the road was opened
        before anyone else was awake
        during the long drought
        on the last market day of {month}
        when the lamps were being lit
        in the middle of an argument
        after {years} years of the same routine
        at the end of a hard season
        while the others were at dinner
        some time around {year}
        on the eve of the wedding
        early in {month}
        the night of the great storm
        halfway through the winter
        {small} days later
        within {small} weeks
        for the first time in {small} years
        in the autumn of {year}
        as soon as the frost lifted
        the morning after the vote
        when the news finally arrived
    """,
    "month": """
        January
        February
        March
        April
        May
        June
        July
        August
        September
        October
        November
        December
    """,
    "where": """
        at {place}
        near {place}
        behind {place}
        outside {place}
        across the road from {place}
        two streets away from {place}
        in {TOWN}
        on the road to {town}
        halfway between {TOWN} and {town}
        in a back room in {town}
        beside {place}
        within sight of {place}
    """,
    "reason": """
        because the roads were closed
        because nobody else had offered
        since the money had already been spent
        because it was cheaper than arguing
        since {FRIEND} had asked twice
        because the old way had stopped working
        as there was nothing else to do
        because a promise had been made
        since the weather would not hold
        because {town} had done the same
        as the rules did not forbid it
        because {stuff} was scarce that year
        since nobody trusted {a_trade} from {town}
        because the alternative was worse
        as if it were the most natural thing in the world
        because the {thing} could not wait
        since the light was failing
        because {HIS} father had done it that way
        as the {trades} had gone home
        because no one had said no
    """,
    "purpose": """
        to settle a bet
        to save the cost of {a_thing}
        to see what would happen
        in order to be left alone
        to please {FRIEND}
        so that the others could sleep
        to make room for {a_thing}
        to keep the {things} dry
        to avoid another quarrel
        so that nobody would have to ask
        to prove a point
        in the hope of a quiet week
        to pay for {a_thing}
        for the sake of appearances
        so that the work could go on without {HIM}
        to win back the good opinion of the {trades}
    """,
    "manner": """
        without a word
        with great care
        more out of habit than hope
        with both hands
        as slowly as possible
        with the help of {a_trade}
        in spite of the rain
        against all advice
        in half the usual time
        as though nobody were watching
        with a borrowed {thing}
        from memory
        by lamplight
        in perfect silence
        with the patience of {a_trade}
        under the eyes of {small} {trades}
        one piece at a time
        with more courage than skill
        to the surprise of the {trades}
        for no pay at all
    """,
    "verb": """
        carried
        mended
        measured
        borrowed
        counted
        hid
        found
        cleaned
        painted
        examined
        bought
        described
        copied
        ignored
        defended
        admired
        inherited
        returned
        collected
        repaired
        lifted
        tested
        guarded
        weighed
        sketched
        protected
        wrapped
        polished
        studied
        rescued
        lost
        praised
        replaced
        demanded
        arranged
        discovered
        labelled
        stored
        kept
        wanted
        refused
        recognised
        delivered
        compared
        chose
        designed
        divided
        exchanged
        imagined
        requested
    """,
    "object": """
        the {thing}
        {a_thing}
        the {trait} {thing}
        {a_trait} {thing}
        {small} {things}
        {count} {things}
        the {things}
        every {thing} {where}
        the last of the {stuff}
        the {thing} from {town}
        a box of {things}
        the other {thing}
        the best {thing} in {TOWN}
        {a_thing} and {small} {things}
        the {thing} that {FRIEND} had left {where}
        more {stuff} than anyone needed
        the only {trait} {thing} in the district
    """,
    "act": """
        {did}
        {did}
        {did}
        {verb} {object}
        {verb} {object} {manner}
        {verb} {object} {purpose}
        spent {small} days looking for {a_thing}
        asked {a_trade} about the {stuff}
        sent to {town} for {a_thing}
        promised {FRIEND} {a_trait} {thing}
        gave up {art} for good
        took up {art} again
        made a habit of {art}
        wrote {small} pages about {art}
        argued with the {trades} about {stuff}
        walked to {town} {purpose}
    """,
    "opinion": """
        it is easy to suppose that
        most people agree that
        it took me years to see that
        the {trades} of {town} insist that
        anyone who has tried {art} knows that
        there is a saying in {TOWN} that
        it would be wrong to conclude that
        few {trades} will admit that
        experience suggests that
        nobody teaches you that
        it is sometimes said that
        I used to believe that
        the evidence, such as it is, shows that
        what surprised the visitors was that
        the lesson, if there is one, is that
        {FRIEND} liked to say that
        I have come to think that
        the usual explanation is that
        a cautious reader will object that
        it follows that
        it is no accident that
        {HERO} never tired of repeating that
    """,
    "contrast": """
        but that is only half of it
        yet hardly anyone acts on it
        though not in the way you might expect
        and the opposite is just as often true
        but try telling that to {a_trade}
        which is why {things} are made the way they are
        even if nobody in {TOWN} would say so
        and {art} is the proof
        but it has exceptions, and they are the interesting part
        at least where {stuff} is concerned
        and this is truer of {trades} than of anyone
        although {FRIEND} would disagree
        and I have yet to meet a counterexample
        but the {trades} of {town} found a way around it
        which explains a good deal about {town}
        however much we might wish otherwise
        and that goes for {things} of every kind
        a point that is usually missed
    """,
    "link": """
        still,
        even so,
        as a result,
        of course,
        at first,
        in the end,
        curiously,
        for all that,
        before long,
        in practice,
        by contrast,
        to be fair,
        in other words,
        now and then,
        as far as anyone knows,
        more to the point,
        on the other hand,
        above all,
        strangely enough,
        after all,
        in the meantime,
        once again,
        for a while,
        in short,
        as usual,
        to nobody's surprise,
        at any rate,
        for example,
    """,
    "virtue": """
        patience
        thrift
        stubbornness
        accuracy
        generosity
        caution
        a sense of humour
        punctuality
        modesty
        nerve
        attention
        honesty
        good judgement
        a thick skin
        timing
        restraint
        endurance
        tact
        common sense
        a steady hand
        a long memory
        courage
        good manners
        persistence
    """,
    "measure": """
        a matter of minutes
        worth the trouble
        a question of {virtue}
        harder than it looks
        less a science than a courtesy
        a way of paying attention
        cheaper than regret
        the work of a lifetime
        not for the impatient
        half {virtue} and half luck
        mostly {virtue}
        an education in itself
        better done in company
        easier in {month}
        what separates the {trades} from the rest
        a private pleasure
        no guarantee of anything
        the first thing to be forgotten
        nothing without {virtue}
        its own reward, or so I am told
    """,
    "crowd": """
        nobody in {TOWN}
        half the town
        the neighbours
        a handful of {trades}
        everyone but {FRIEND}
        the older {trades}
        two visitors from {town}
        the children
        the council
        most of the {trades}
        the people of {town}
        {small} strangers
    """,
    "response": """
        pretended not to notice
        talked of nothing else
        laughed about it for years
        wanted to know the price
        came to look
        said it would never last
        asked for the same
        took the credit
        remembered it differently
        paid in advance
        said nothing at all
        blamed the weather
        agreed to try it for a month
        complained to the council
        thought it a waste of {stuff}
        began to do the same
        went home disappointed
        offered {small} coins for it
        learned something from it
        forgot it by {month}
    """,
}
