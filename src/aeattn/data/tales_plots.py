"""The rules of the corpus `tales`, in the language that :mod:`aeattn.data.tales_grammar` explains.

Slots used throughout: `hero`, `friend`, `kin` (a relative of the hero), `beast` (with `fur`), `stranger`
(with `air`), `thing` (with `look`), `home` (a village) and `place` (with `spot`). A rule's argument
``hero=hero_name`` introduces the hero and ``hero`` mentions a hero already introduced; ``new`` and
``known`` do so for the thing.
"""

PLOTS = """
story:
    {lost}
    {errand}
    {bargain}
    {quarrel}
    {feast}
    {storm}
    {riddle}
    {noise}
    {apprentice}
    {swaps} @3
    {week} @3
"""

COMMON = """
trade:
    {trades}
    {stranger_looks} {trades}

a_trade:
    {trades.a}
    {stranger_looks.a} {trades}

many_trades:
    {trades.s}
    {stranger_looks} {trades.s}

farm_beast:
    {farm_beasts}
    {beast_looks} {farm_beasts}

a_farm_beast:
    {farm_beasts.a}
    {beast_looks.a} {farm_beasts}

many_farm_beasts:
    {farm_beasts.s}
    {beast_looks} {farm_beasts.s}

near_place:
    {near_places}
    {place_looks} {near_places}

a_near_place:
    {near_places.a}
    {place_looks.a} {near_places}

inside_place:
    {inside_places}
    {place_looks} {inside_places}

a_inside_place:
    {inside_places.a}
    {place_looks.a} {inside_places}

many_inside_places:
    {inside_places.s}
    {place_looks} {inside_places.s}

top_place:
    {top_places}
    {place_looks} {top_places}

a_top_place:
    {top_places.a}
    {place_looks.a} {top_places}

many_top_places:
    {top_places.s}
    {place_looks} {top_places.s}

bird:
    {birds}
    {bird_looks} {birds}

a_bird:
    {birds.a}
    {bird_looks.a} {birds}

many_birds:
    {birds.s}
    {bird_looks} {birds.s}

tree:
    {trees}
    {tree_looks} {trees}

a_tree:
    {trees.a}
    {tree_looks.a} {trees}

many_trees:
    {trees.s}
    {tree_looks} {trees.s}

flower:
    {flowers}
    {flower_looks} {flowers}

a_flower:
    {flowers.a}
    {flower_looks.a} {flowers}

many_flowers:
    {flowers.s}
    {flower_looks} {flowers.s}

small_beast:
    {small_beasts}
    {bird_looks} {small_beasts}

a_small_beast:
    {small_beasts.a}
    {bird_looks.a} {small_beasts}

many_small_beasts:
    {small_beasts.s}
    {bird_looks} {small_beasts.s}

treat:
    {treats}
    {treat_looks} {treats}

a_treat:
    {treats.a}
    {treat_looks.a} {treats}

many_treats:
    {treats.s}
    {treat_looks} {treats.s}

food:
    {foods}
    {food_looks} {foods}

chattel:
    {furniture} @2
    {wooden_looks} {furniture}

path:
    {paths}
    {place_looks} {paths}

number:
    {numbers} @2
    {high_numbers}

Number:
    {numbers.Cap} @2
    {high_numbers.Cap}

aside:
    {aside_room}
    {aside_road}
    {aside_deed} @3
    {weather}

aside_room:
    On the {chattel} stood {wares}. @2
    The room smelled of {herbs}, {herbs} and {food}, and {a_small_beast} [sat|slept|crept|sang] on the
        {cloth_looks} {cloth_things}.
    Beside the {chattel} hung {cloth_looks.a} {cloth_things} and {paper_looks.a} {paper_things}.
    There was {dishes} for supper. @2

aside_road:
    {stranger_looks.A} {trades} went by with {a_farm_beast}, {a_farm_beast} and {vessels.a} of {treats.s}.
    {birds.A}, {birds.a} and {a_bird} were quarrelling in the {tree}.
    {Number} {birds.s} flew over the {near_place}, and {a_farm_beast} looked up {speech_manners}.
    Beside {wooden_looks.a} {wooden_things} near the {path} lay {other_a} and {a_treat}.
    {flowers.A}, {flowers.a} and {a_flower} grew beside the {path}, and the {small_beasts.s} {motions} among
        them.
    Old {old_names} {village}, the {trades}, {motions} by with {vessels.a} of {treats.s}, talking of
        {virtues}.
    From the {near_place} came a song: {song}
    On a signpost by the {path} stood three names: {village}, {village} and {village}.
    A ship called {odd_name} had come from {far_land} with {vessels.a} of {many_treats}.

blank:
    [ ]

new_a:
    {look=metal_looks.a} {thing=metal_things} @5
    {look=wooden_looks.a} {thing=wooden_things} @4
    {look=cloth_looks.a} {thing=cloth_things} @4
    {look=glass_looks.a} {thing=glass_things} @3
    {look=paper_looks.a} {thing=paper_things} @2

new_title:
    {look=metal_looks.Title} {thing=metal_things.Title} @5
    {look=wooden_looks.Title} {thing=wooden_things.Title} @4
    {look=cloth_looks.Title} {thing=cloth_things.Title} @4
    {look=glass_looks.Title} {thing=glass_things.Title} @3
    {look=paper_looks.Title} {thing=paper_things.Title} @2

known_a:
    {look.a} {thing}

it:
    the {thing} @3
    the {look} {thing}

other_a:
    {trinkets.a} @3
    {metal_looks.a} {metal_things}
    {cloth_looks.a} {cloth_things}
    {glass_looks.a} {glass_things}
    {paper_looks.a} {paper_things}

a_place:
    in the {spot=place_looks} {place=inside_places} @4
    by the {spot=place_looks} {place=near_places} @4
    on the {spot=place_looks} {place=top_places} @2
    beyond the {spot=place_looks} {place=near_places}

stranger_new:
    {air=stranger_looks.a} {stranger=stranger_kind}

stranger_known:
    {air=stranger_looks.a} {stranger}

any_place:
    in the {inside_place}
    by the {near_place}
    on the {top_place}
    under the {tree_looks} {trees}

fine_day:
    one {warm_weathers} {times} in {warm_months}
    one {cold_weathers} {times} in {cold_months}
    on the {times} of the {feasts}
    the day after the {feasts}
    one {times}[, when the {many_trees} were [in flower|in leaf|full of {many_birds}]|]
    {number} days before the {feasts}

Fine_day:
    One {warm_weathers} {times} in {warm_months}
    One {cold_weathers} {times} in {cold_months}
    On the {times} of the {feasts}
    The day after the {feasts}
    One {times}, when the {many_trees} were [in flower|in leaf|full of {many_birds}]
    A week before the {feasts}
    Late one {warm_weathers} [evening|night|{days}]
    Early one {cold_weathers} morning

fine:
    fine
    handsome
    good

someone:
    {a_trade}
    {stranger_looks.a} {trades} from {village}
    {old_names} the {trades} @2
    {old_names} of {village}
    {old_names} {village} @2
    {old_names} {village} the {trades}
    {old_names} of the {odd_name} family
    {stranger_looks.a} {trades} called {odd_name}

Someone:
    The {trade}
    {stranger_looks.A} {trades} from {village}
    {old_names} the {trades} @2
    Old {old_names}
    {old_names} {village} @2
    {old_names} {village} the {trades}
    {stranger_looks.A} {trades} called {odd_name}

deed:
    polished {metal_looks.a} {metal_things}
    mended {cloth_looks.a} {cloth_things}
    painted {wooden_looks.a} {wooden_things} {colours}
    painted the {chattel} {colours}
    filled {glass_looks.a} {glass_things} with {food}
    wrapped {paper_looks.a} {paper_things} in {cloth_looks.a} {cloth_things}
    sold {number} {treats.s} to {someone}
    bought {vessels.a} of {treats.s} from {someone}
    ate {food} with {many_treats}
    cooked {food} with {herbs} and {treats.s}
    planted {many_flowers} and {herbs} under {a_tree}
    taught {a_farm_beast} to {tricks}
    caught {number} {fish} [by|near] the {near_place}
    chased {a_bird} round the {near_place}
    argued with {someone} about {topic}
    talked to {someone} about {topic}
    read {paper_looks.a} {paper_things} about {topic}
    dreamed about {topic}
    tied {cloth_looks.a} {cloth_things} to {a_tree}
    carried {vessels.a} of {many_treats} to the {near_place}
    danced with {someone}
    swapped {other_a} for {other_a}
    found {other_a} {any_place}
    lost {other_a} {any_place}
    hid {other_a} [under|behind] the {chattel}
    borrowed {other_a} from {someone}
    picked {many_flowers} {any_place}
    looked for {herbs} {any_place}
    sat under {a_tree} and counted the {many_birds}
    watched {a_small_beast} on {a_flower}
    gave {a_treat} to {a_farm_beast}
    {chores}
    {more_chores}
    sang {song_in}
    sailed to {far_land}
    wrote a letter to {someone}
    heard news from {far_land}
    learned to say '{odd_word}' and '{odd_word}'

aside_deed:
    That {times} {someone} {deed}.
    {Someone} {deed}, and {someone} {deed}.
    In {village}, {someone} {deed}.
    It was the week in which {someone} {deed}.
    On {days}, {someone} {deed}.
    Meanwhile, {someone} {deed}.
    {Someone} {deed} and {deed}.

chat:
    "I {deed} on {days}," {tag<$1>}. / "And I," {tag<$2>}, "{deed}."
    "What did you do on {days}?" {ask<$1>}. / "I {deed}," {tag<$2>}.
    "They say that {someone} {deed}," {tag<$1>}. / "{chat_reply}" {tag<$2>}.
    "Do you know {someone}?" {ask<$1>}. / "{chat_knows}," {tag<$2>}.
    "I have never liked {food}," {tag<$1>}. / "{chat_reply}" {tag<$2>}.

chat_reply:
    That is [more|better|worse|stranger] than anything I ever did!
    In {village} they do it every {days}!
    You should not believe {someone}!
    My {body_parts} [aches|itches] when I hear of it!
    I would rather have {dishes}!
    So did {someone}, and look what became of it!
    There is nothing like {virtues}!
    Then you have never seen {ware}!
    Tell that to {crowd}!

chat_knows:
    Was it not [he|she] who {deed}
    No, but I know {someone}
    Everyone does, since that {feasts}
    I met [him|her] once {any_place}
    Only by name, and by the smell of {food}

odd_name:
    {syllable.Cap}{syllable}[{coda}|]
    {syllable.Cap}{syllable}{syllable}[{coda}|]

odd_word:
    {syllable}{syllable}{coda}
    {syllable}{syllable}{syllable}

song:
    "{syllable.Cap}, {syllable}, {syllable}{syllable}, {syllable}!"
    "{syllable.Cap}-{syllable}, {syllable}-{syllable}, {syllable}-{syllable}!"
    "Oh, {odd_word}, {odd_word}, {odd_word}!"

far_land:
    the land of {odd_name}
    the island of {odd_name}
    the kingdom of {odd_name}
    the court of [King|Queen] {odd_name}
    {odd_name}, [across|beyond|beside] the sea
    {odd_name}, where it is always [{warm_weathers}|{cold_weathers}]

topic:
    {topics}
    {far_land}
    King {odd_name} of {odd_name}
    the giant {odd_name}
    the town of {village}
    {someone}

called_new:
    {name1=syllable.Cap}{name2=syllable}{name3=syllable}{name4=coda}

called:
    {name1.Cap}{name2}{name3}{name4}

beast_name:
    / "What is your name?" {ask<hero>}. / "{called_new}," {tag<beast>}. "And yours?" / "{hero},"
        {tag<hero>}.
    / "Have you a name?" {ask<hero>}. / "{called_new}," {tag<beast>}, "which is {virtues} in the tongue of
        {odd_name}."
    {blank}It said that its name was {called_new}, and that it came from {far_land}.
    {blank}Before long {hero.he} knew its name, {called_new}, and its favourite dish, which was {food}.
    {blank}Its name was {called_new}, and it had lived {any_place} for {number} years.

beast_end:
    And {called}? The {beast} comes to {home} every {days}, and {hero.the} gives it {treats.a}.
    Sometimes, on {days}, {hero.the} still hears {called} the {beast} singing {song}
    The following {days} {hero.he} carved the name {called} into {wooden_looks.a} {wooden_things}.
    {hero.He} told everyone in {home} about {called} the {fur} {beast}, and {someone} even believed it.
    The {beast} {called} was never seen again, but in {village} they know its name.
    Every {feasts}, {hero.the} leaves {food} and {treats.a} {any_place}, for {called}.

song_in:
    a song about {topic}
    a song that went '{odd_word}, {odd_word}'

bauble_word:
    You have only to say {word}!
    The magic word is {word}!
    Whisper {word} to it, and wait!

word:
    {word1=syllable.Cap}{word2=syllable}{word3=syllable}{word4=coda}

that_word:
    {word1.Cap}{word2}{word3}{word4}

ware:
    {metal_looks.a} {metal_things}
    {wooden_looks.a} {wooden_things}
    {cloth_looks.a} {cloth_things}
    {glass_looks.a} {glass_things}
    {paper_looks.a} {paper_things}
    {trinkets.a}
    {vessels.a} of {treats.s}
    {number} {metal_things.s}
    {number} {glass_things.s}
    {number} {cloth_things.s}

wares:
    {ware} and {ware}
    {ware}, {ware} and {ware} @2
    {ware}, {ware}, {ware} and {ware}

crowd:
    {someone} and {someone}
    {someone}, {someone} and {someone}
    {someone} with {a_farm_beast}, and {someone} with {number} {farm_beasts.s}

Crowd:
    {Someone} and {someone}
    {Someone}, {someone} and {someone}
    {Someone} with {a_farm_beast}, and {someone} with {number} {farm_beasts.s}

dishes:
    {food} and {food}
    {food}, {food} and {number} {many_treats} @2
    {food} with {treats.s}, and {food} with {herbs}

packs:
    {hero.He} packed {wares}, and [set out|started|said goodbye|was off] {fine_time}.
    For the journey {hero.his} {kin} gave {hero.him} {wares}.
    {hero.He} took {dishes} to eat on the way.
    {Crowd} came to the {near_place} to wave goodbye.
    {hero.He} {deed}, {deed}, and set out {fine_time}.

feast_crowd:
    {Crowd} sat down, and {someone} {deed}.
    {Crowd} danced until {hours}.
    They sang {song_in} and ate until {hours}.

asked_by:
    [said|asked|guessed|cried] {someone}

weather:
    The wind {wind_deeds}. @3
    The {times} was {warm_weathers}, and {number} {many_birds} sang in the {tree}.
    It was {cold_weathers} outside, and the wind {wind_deeds}.
    The sun shone on the {many_flowers}, and {a_small_beast} [hummed|dozed] in the {herbs}.
    Rain fell [softly|hard|all day|without a pause] on the {many_trees} and the {many_flowers}.
    A smell of {herbs} and {food} hung in the air.
    Somewhere {a_bird} was calling, and {a_farm_beast} answered it.
    Mist lay over the {inside_place} [like a blanket|like milk|like wool|as thick as {food}].
    Snow lay on the roof of the {near_place}[, and the {many_birds} were silent|].
    The moon hung over the {top_place} [like a lamp|like {glass_looks.a} plate|as round as {a_treat}].

village_spot:
    a village of {number} houses
    where the {path} meets the river
    below the {top_place}
    between the {inside_place} and the {near_place}
    a town known for its {food}
    where {many_trees} grow in every garden
    the last village before the {inside_place}
    where the {feasts} is the best day of the year
    where nobody locks a door
    where the houses have [red|green|crooked|thatched] roofs

intro:
    Once there was {traits.a} {hero.child} called {hero.the}, who lived with {hero.his} {kin=kin_kind} in
        {home=village}, {village_spot}.
    {hero.The} lived with {hero.his} {kin=kin_kind} in {home=village}, {village_spot}. {habit}
    In {home=village}, {village_spot}, there lived {traits.a} {hero.child} named {hero.the}. {hero.His}
        {kin=kin_kind} was {trades.a}, and the two of them were [never apart|always busy|poor but
        {glad}|known for their {virtues}|the best of friends].
    {hero.The} was the most {traits} {hero.child} in {home=village}, {village_spot}. So said {hero.his}
        {kin=kin_kind}, who was {traits}.
    Long ago, in {home=village}, {traits.a} {hero.child} named {hero.the} kept house with {hero.his}
        {kin=kin_kind}. {habit}

intro_new:
    {hero=hero_name.the} lived with {hero.his} {kin=kin_kind} in {home=village}, {village_spot}. {habit}
    {hero=hero_name.the} was {traits.a} {hero.child} who had grown up in {home=village}, {village_spot}, in
        the care of {hero.his} {kin=kin_kind}.
    In {home=village}, {village_spot}, everybody knew {hero=hero_name.the}, {traits.a} {hero.child} who
        helped {hero.his} {kin=kin_kind}, the {trades}. {habit}
    When {hero=hero_name.the} was [small|{number} weeks old|very young], {hero.his} {kin=kin_kind} took
        {hero.him} to live in {home=village}, {village_spot}. {habit}
    Nobody in {home=village} was as {traits} as {hero=hero_name.the}, except perhaps {hero.his}
        {kin=kin_kind}. {habit}

habit:
    Every {times} {hero.he} {chores}[ and {more_chores}|], and {hero.he} dreamed of {dream}. @2
    On {days} {hero.he} {deed}, and the day after {hero.he} {deed}. @3
    That year {hero.he} {deed}, {deed} and {deed}. @2
    {hero.He} {chores}, {more_chores} and [was never idle|sang while {hero.he} worked|did not complain|hoped
        for a holiday].
    All {hero.he} wanted was {wishes}. @2
    On [market days|weekdays|holidays|{days}s] {hero.he} {chores} for the {trade}, who paid {hero.him} in
        {food}.
    {hero.He} could tell {herbs} from {herbs} by the smell, but {hero.he} had never seen {dream}.
    People said that {hero.he} had more {virtues} than the {trade}, and more {virtues} than the {trade}'s
        {farm_beast}.

dream:
    the sea
    a ship
    {a_bird} as large as a house
    {jewels.a} the size of {a_treat}
    {beast_looks.a} {farm_beasts} of {hero.his} own
    {place_looks.a} island
    a house made of {food}
    the king's {inside_place}
    {far_land}
    a ship called {odd_name}

tag:
    said {$1.the} @2
    said {$1.the} {speech_manners} @4
    {$1.the} {speech_verbs} @2
    {$1.the} {speech_verbs}, {mood<$1>} @2

mood:
    {glad} and {sad}
    a little {sad}
    more {glad} than {sad}
    looking at the {chattel}
    looking at the {flowers.s}
    rubbing {$1.his} {body_parts}
    scratching {$1.his} {body_parts}

tagp:
    {$1.he} said
    {$1.he} {speech_verbs}
    {$1.he} said {speech_manners} @2

ask:
    asked {$1.the} @2
    asked {$1.the} {speech_manners} @2
    {$1.the} asked {speech_manners}
    {$1.the} wanted to know
    asked {$1.the}, {mood<$1>}

glad_end:
    {hero.The} felt {glad}[ and {hero.he} [hummed|laughed|skipped] all the way home|].
    {hero.The} was so {glad} that {hero.he} forgot to be {sad}.
    For the first time in {number} days, {hero.the} was not {sad} at all.

sad_now:
    {hero.The} was {sad}. @2
    {hero.The} felt {sad}, and {hero.his} {body_parts} [ached|itched|hurt].
    {hero.The} sat down on the {chattel} and [wept|sighed|thought|stared at the wall] for a long while.
    Never had {hero.the} been so {sad}.
    {hero.The} was too {sad} to eat {hero.his} {food}.
    "What shall I do?" {hero.he} asked the {listener=farm_beasts}, but the {listener} [had no answer|only
        blinked|did not know|yawned].

trek:
    {hero.The} {motions} along the {path}[, {motion_manners},|] until {hero.he} came to the {near_place}. @3
    {hero.He} {motions} past the {near_place} and over the {top_place}. @2
    For {number} hours {hero.he} {motions} on, {motion_manners}, and saw nobody but {beast_looks.a}
        {farm_beasts}. @2
    The {path} led {hero.him} through {many_trees} and {many_flowers}, where {many_small_beasts}
        [danced|hummed|crawled]. @2
    At noon {hero.he} ate {a_treat} under {a_tree} and watched the {many_birds}. @2
    Beyond the {inside_place} {hero.he} asked the way of {stranger_looks.a} {trades}, who [pointed
        north|pointed south|shrugged|sent {hero.him} back to the {near_place}].
    At the {near_place} {hero.he} turned [left|right], because {a_bird} told {hero.him} to.
    {hero.He} slept in {place_looks.a} {inside_places} and woke with {a_flower} in {hero.his} hair.
    Twice {hero.he} lost the way, and twice {a_bird} [showed|sang] it to {hero.him}.
    To keep up {hero.his} courage, {hero.he} sang: {song}
    Somebody had written "{odd_word}" on a stone by the {near_place}, and {hero.he} said it aloud.
    {hero.He} asked the way to {village}, and {someone} sent {hero.him} to {village} instead. @2

treks:
    {trek}
    {trek} {trek2}

trek2:
    Then {hero.he} {motions} on, {motion_manners}, through {place_looks.a} {inside_places}. @2
    After that came {place_looks.a} {top_places}, where the wind {wind_deeds}. @2
    {cold_trouble}
    Soon the {path} grew [steep|narrow|muddy|stony], and {hero.his} {body_parts} began to ache.
    In the end {hero.he} sat down on a stone and ate {food} with {many_treats}.

cold_trouble:
    A fog came down, so thick that {hero.he} could not see {hero.his} own {body_parts}.
    The bridge was broken, so {hero.he} [swam|waded|waited for a boat|built a raft of {tree} logs].
    Night fell, and {hero.he} slept under {a_tree} with {hero.his} head on {hero.his} {body_parts}.
    It began to rain, and {hero.he} hid for {number} minutes under {a_tree}.

meet_beast:
    There {hero.he} found {fur=beast_looks.a} {beast=beast_kind}, {beast_plights}. @2
    Suddenly {hero.he} heard a {noise_word}. It was {fur=beast_looks.a} {beast=beast_kind}, {beast_plights}.
        @2
    Under {a_tree} sat {fur=beast_looks.a} {beast=beast_kind}, and it looked {sad}.
    Who should be there but {fur=beast_looks.a} {beast=beast_kind}, {beast_plights}!

noise_word:
    {sounds}
    [faint|loud|strange|small|sad] {sounds}

help_beast:
    {hero.The} [knelt down|took a deep breath|put down {hero.his} bag|found {trinkets.a}] and set the
        {beast} free. @2
    {hero.The} gave it {food} and {a_treat}, and bound its {body_parts} with {cloth_looks.a} {cloth_things}.
        @2
    "Hold still," {tag<hero>}, and in {number} minutes the {beast} was free.
    {hero.The} was [in a hurry|tired|afraid of its teeth], but {hero.he} could not leave it like that, and
        {hero.he} helped it.
    It took {number} tries and {trinkets.a} to help it, but {hero.the} did not give up.

beast_thanks:
    {beast_gratitude}{beast_name}

beast_gratitude:
    "Thank you," {tag<beast>}. "Nobody has been so good to me since {fond_time}." @2
    "I shall not forget this," {tag<beast>}.
    "You have {virtues}," {tag<beast>}, "and that is [rare|worth more than {jewels.s}|more than {someone}
        ever showed me]."
    The {beast} bowed. "One good turn deserves another," it {speech_verbs}.

fond_time:
    the {feasts}
    I was young
    the old {trade} died
    the winter of the great snow
    I lived by the {near_place}

kin_word:
    mother
    grandmother
    father
    uncle
    cousin
    sister

moral:
    "{proverb}," {hero.his} {kin} used to say[, and {hero.the} knew now that it was true|].
    And if you ask {hero.the} what matters most, {hero.he} will say that it is {virtues}.
    {hero.The} had learned that {virtues} is worth more than {jewels.s}.
    {hero.The} never forgot that {times}[, not even when {hero.he} was old|].
    The {trade} of {home} still tells the tale, {speech_manners}, to anyone who brings {food}.
    From that day on, nobody in {home} said a word against {virtues}.
    That is how it was, and the {many_birds} of {home} will tell you the same.

proverb:
    {virtues.Cap} opens more doors than a key
    {virtues.Cap} is a better friend than {virtues}
    A little {virtues} goes a long way
    Where there is {virtues}, there is {food} for everyone
    Look for {virtues} and you will find {virtues}
    You cannot buy {virtues} with {jewels.s}
    One {treat} shared is better than {number} eaten alone

keepsake:
    The {look} {thing} hangs over the {chattel} to this day.
    As for the {look} {thing}, {hero.the} keeps it beside {hero.his} bed[, wrapped in {cloth_looks.a}
        {cloth_things}|].
    And the {thing}? It stands on the {chattel}, as {fine} as ever, [for all to see|next to {other_a}|where
        the {farm_beast} cannot reach it].
    Every {times} {hero.the} looked at the {look} {thing} and thought of {virtues}.
    If you go to {home}, ask to see the {look} {thing}. {hero.The} will show it to you[ {speech_manners}|].
    Long afterwards, whenever {hero.he} saw the {look} {thing}, {hero.the} [smiled|laughed|hummed a little
        tune|thought of the {path}].

finish:
    {keepsake} @3
    {moral} {keepsake} @2
    {keepsake} {moral2}

moral2:
    "{proverb}," {hero.he} says.
    For {hero.he} has learned what {virtues} is worth.
    And they all ate {food} and {many_treats} until they were {glad}.
    So ends the tale.
"""

LOST = """
lost:
    {lost_title} / {lost_start} / {lost_search} / {lost_road} / {lost_found}[ / {beast_end}|] / {finish} / /

lost_title:
    The Lost {new_title} / {intro_new} {prized<known>}
    {hero=hero_name.the} and the {new_title} / {intro} {prized<known>}
    {hero=hero_name.the} of {home=village} / {hero.The} lived with {hero.his} {kin=kin_kind}. {habit}
        {prized<new>}

prized:
    {hero.His} dearest treasure was {$1_a}, which {hero.his} {kin} had [bought from|won from|found behind
        the house of|traded with] {stranger_looks.a} {trades}. @2
    On {hero.his} last birthday, {hero.his} {kin} had given {hero.him} {$1_a}.
    {hero.He} owned [only one thing|little enough]: {$1_a}, [made|found|bought] by {hero.his} {kin}.
    Of all {hero.he} had, {hero.he} loved best {$1_a} that had once belonged to {someone}.

lost_start:
    {Fine_day}, the {thing} was gone. {gone_more}
    {Fine_day}, {hero.the} [reached for|went to fetch|wanted to show {hero.his} {kin}] the {look} {thing},
        but it was not there. {gone_more}
    {weather} {hero.The} woke early and looked for the {thing}. It had vanished. {gone_more}
    Then, {fine_day}, {hero.the} came home and found the window open and the {thing} gone. {gone_more}

gone_more:
    {sad_now}
    In its place lay {trinkets.a}. {sad_now}
    {sad_now} {weather}

lost_search:
    {searches}[ {aside}| {aside} {aside}|] / {lost_talk}[ {aside}| {aside} {aside}|]

searches:
    {search1} {search2}
    {search1} {search2} {search3}

search1:
    {hero.He} looked [under|behind|inside] the {chattel}, and found only {wares}.
    First {hero.he} searched the {chattel}, where there was nothing but {wares}.
    {hero.He} emptied the {chattel} and [shook out|looked through|turned over] {wares}.
    [Behind|Under] the {chattel} lay {wares}, but no {thing}.

search2:
    {hero.He} [asked|questioned|woke] {someone}, who had seen {beast_looks.a} {farm_beasts} but no {thing}.
    Next {hero.he} crawled [under|behind] the {chattel}. All that {hero.he} found was dust and {wares}.
    Then {hero.he} {motions} to the {near_place} and back. Nothing.
    {Crowd} came to help, and looked {any_place}.
    {Someone} remembered {look.a} {thing}, but that had been in {village}.

search3:
    {Number} neighbours helped to look, and one of them found {other_a}.
    Even {someone} came and {deed}, in case the {thing} should turn up.
    At last {hero.he} gave up and {deed}.
    All the while {hero.his} {kin} {deed}.

lost_talk:
    "Have you seen my {thing}?" {ask<hero>}. / "[No|Not today|Not since the {feasts}]," {tag<kin>}.
        "{kin_advice}" @3
    "Someone has taken my {thing}," {tag<hero>}, "and I shall find out who." / "{kin_advice}" {tag<kin>}.
    "Where did you see it last?" {ask<kin>}. / "{any_where}," {tag<hero>}. / "{kin_advice}" {tag<kin>}.

any_where:
    On the {chattel}
    Under the {chattel}
    In my bag, with {a_treat}
    By the {near_place}, I think

kin_advice:
    Look where the {many_birds} gather!
    What is lost wants to be found!
    Take {food} with you, and be home before dark!
    Ask at the {near_place}!
    A thing with {cold_word} is never lost for long!
    You would lose your {body_parts} if it were loose!

cold_word:
    a good owner
    {jewels.a} in it
    a name
    so many memories

lost_road:
    So {hero.the} took {ware} and {a_treat} and set out. {treks}[ {aside}| {aside} {aside}|] / {meet_beast}
        {help_beast} / {beast_thanks}{lost_hint}
    {packs} {treks} / {meet_beast} {help_beast} / {beast_thanks}{lost_hint}

fine_time:
    at dawn
    at once
    before breakfast
    while the {many_birds} were still asleep
    without a word

lost_hint:
    / "Have you seen {known_a}?" {ask<hero>}. / "A {thief=thief_kind} carried it off. It lives {a_place},"
        {tag<beast>}.
    / "I am looking for {known_a}," {tag<hero>}. / "Then look {a_place}," {tag<beast>}. "That is where the
        {thief=thief_kind} keeps what it steals."
    {blank}Then it told {hero.him} of a {thief=thief_kind} that stole whatever it could carry, and lived
        {a_place}.

lost_found:
    {hero.The} {motions} there {motion_manners}. {found_it} {glad_end}
    It was not far to the {spot} {place}. {found_it} {glad_end}

found_it:
    In the {thief}'s nest, among {trinkets.s} and {metal_things.s}, lay the {look} {thing}.
    There sat the {thief} with the {look} {thing} [between its feet|beside it|on its head]. "I only wanted
        something of my own," {tag<thief>}. So {hero.the} gave it {other_a} and took the {thing} home.
    "Give back my {thing}!" {tag<hero>}. The {thief} was so [startled|ashamed|frightened] that it dropped
        the {look} {thing} and [fled|hid behind {a_tree}|turned {number} somersaults].
    The {thief} was asleep. {hero.The} lifted the {look} {thing} out of a heap of {many_flowers}, and left
        {a_treat} in its place.
"""

ERRAND = """
errand:
    {errand_title}[ {aside}| {aside} {aside}|] / {errand_ask} / {errand_road} / {errand_beast} /
        {errand_arrive}[ / {chat<friend,hero>}|] / {errand_home}[ / {beast_end}|] / /

errand_title:
    The Road to {goal=village} / {intro_new}
    {hero=hero_name.the} Goes to {goal=village} / {intro}
    A Long Way to {goal=village} / {intro_new} {weather}

errand_ask:
    {Fine_day}, {hero.his} {kin} called {hero.him}. "{errand_order}," {tag<kin>}. "{errand_care}" /
        {errand_yes}
    {Fine_day}, a letter came from {goal}. "{errand_order}," {tag<kin>}, and folded it up. "{errand_care}" /
        {errand_yes}
    {hero.His} {kin} lay ill in bed. "{errand_order}," {tag<kin>}. "{errand_care}" / {errand_yes}

errand_order:
    Carry {new_a} to {friend=friend_name.the}, who lives in {goal}
    Somebody must bring {new_a} to {friend=friend_name.the} in {goal}
    In {goal} lives {friend=friend_name.the}, who is waiting for {new_a}

errand_care:
    Do not [drop|lose|sell|open|forget] it.
    Speak to nobody about it, least of all to {someone}.
    Be back before the {feasts}.
    Keep it dry, and keep away from the {inside_place}.
    {friend.The} will know what it is for.

errand_yes:
    "[Yes|I promise|Of course|Trust me|Gladly|On my honour]," {tag<hero>}, and {hero.he} wrapped the {thing}
        in {cloth_looks.a} {cloth_things}. {packs}
    "Is it far?" {ask<hero>}. / "As far as {number} songs," {tag<kin>}, "and {number} more if it rains." /
        {packs}
    "Why me?" {ask<hero>}. / "Because you are {traits}," {tag<kin>}, "and because my {body_parts} hurts." /
        {packs}
    {hero.The} had never been so far from {home}. {hero.He} felt {sad} and {glad} at once. {packs}

errand_road:
    {treks} {aside}
    {aside} {treks}
    {treks}{errand_stranger}

errand_stranger:
    / On the {path} {hero.he} met {stranger_new}. "What have you got there?" {ask<stranger>}. /
        "{errand_answer}," {tag<hero>}. / "{errand_offer}" {ask<stranger>}. / {errand_refuse}

errand_answer:
    Only {known_a}
    A {thing} for {friend.the}
    Nothing but {food}
    I promised not to say

errand_offer:
    Will you take {number} {jewels.s} for it?
    Would you not rather have {other_a}?
    May I hold it, just for a moment?
    Shall I carry it for you?

errand_refuse:
    {hero.The} shook {hero.his} head and {motions} on, {motion_manners}.
    "It is not mine to [give|sell|lend]," {tag<hero>}. The {stranger} [frowned|laughed|nodded|yawned] and
        let {hero.him} pass.
    "Thank you, but no," {tag<hero>}, and gave the {stranger} {a_treat} instead.

errand_beast:
    Near the {near_place} the way was blocked by a {flood}. {meet_beast} {help_beast} / {beast_thanks}
        {over_flood}
    Then came a {flood}, and {hero.the} could go no further. {meet_beast} {help_beast} / {beast_thanks}
        {over_flood}

flood:
    flooded river
    fallen {tree}
    [deep|dark|cold] lake
    locked gate
    wall of thorns
    hill of loose stones

over_flood:
    It knew another way, and before {hours} they were on the other side.
    "Follow me," {tagp<beast>}, and it led {hero.him} round by {place_looks.a} {inside_places}.
    It called {number} {many_birds} and {number} {many_farm_beasts}, and together they brought {hero.him}
        safely past.

errand_arrive:
    In {goal}, {friend.the} was [waiting at the window|asleep by the fire|chopping {herbs}|feeding the
        {many_farm_beasts}|up {a_tree}]. "I have brought you {known_a}," {tag<hero>}. / {friend_reply}
    {friend.The} opened the door and saw {hero.the} and the {look} {thing}. / {friend_reply}

friend_reply:
    "At last!" {tag<friend>}. "Without it I could not have {chores_done}." {friend_gift}
    "It was my {kin}'s, long ago," {tag<friend>}, and {friend.he} [wept|smiled|was silent for {number}
        minutes]. {friend_gift}
    "You have come all this way on foot?" {ask<friend>}. "Sit down and eat." There was {food}, and {food}
        after that. {friend_gift}

chores_done:
    slept another night
    danced at the {feasts}
    played for the king
    married the {trade}
    kept my word

friend_gift:
    To thank {hero.him}, {friend.the} gave {hero.him} {vessels.a} of {many_treats} for the journey home. @2
    {friend.The} filled {hero.his} bag with {wares}. @2
    {friend.He} cooked {dishes}, and {crowd} came to hear the news.
    {friend.He} showed {hero.him} the {inside_place} and taught {hero.him} a song about {a_farm_beast}.
    {friend.The} put {jewels.a} in {hero.his} pocket and would not take it back.

errand_home:
    {hero.The} came home to {home} {number} days later. "Did {friend.the} like the {thing}?" {ask<kin>}. /
        "{friend.He} did," {tag<hero>}. {moral}
    Going home was easy. The {fur} {beast} walked beside {hero.him} as far as the {near_place}. {glad_end}
        In {goal}, the {look} {thing} stands on {friend.the}'s {chattel} to this day.
    When {hero.the} was home again, {hero.his} {kin} asked about the {look} {thing}, about {friend.the} and
        about the {beast}, and they talked until [dawn|midnight|the candle went out]. {moral}
"""

BARGAIN = """
bargain:
    {bargain_title}[ {aside}| {aside} {aside}|] / [{chat<stranger,hero>} / |]{bargain_talk} /
        {bargain_regret}[ {aside}| {aside} {aside}|] / {bargain_back} / {finish} / /

bargain_title:
    A Bad Bargain / {intro_new} {prized<new>} {bargain_meet<stranger_new>}
    The {new_title} / {intro_new} {prized<known>} {bargain_meet<stranger_new>}
    {hero=hero_name.the}'s Bargain / {intro} {prized<new>} {bargain_meet<stranger_new>}
    {hero=hero_name.the} and the {stranger=stranger_kind.Title} / {intro} {prized<new>}
        {bargain_meet<stranger_known>}

bargain_meet:
    {Fine_day}, at the market by the {near_place}, {hero.he} met {$1}.
    {Fine_day}, there was a knock at the door. Outside stood {$1} with {wares} to sell.
    {weather} On the {path} {hero.he} met {$1} with a cart that held {wares}.
    Then, {fine_day}, {$1} came to {home} and spread out {stranger.his} wares under {a_tree}: {wares}.

bargain_talk:
    "What a fine {thing}!" {tag<stranger>}. "{bargain_offer}" / {bargain_yes}
    "That {look} {thing} of yours cannot be worth much," {tag<stranger>}. "{bargain_offer}" / {bargain_yes}
    {stranger.The} looked at the {look} {thing} for a long time. "{bargain_offer}" {tagp<stranger>}. /
        {bargain_yes}

bargain_offer:
    I will give you {bauble_new} for it! {bauble_word}
    Give it to me, and you shall have {bauble_new}! {bauble_word}
    Would you take {bauble_new}? {bauble_word}
    See here! Have you ever met with {bauble_new}? {bauble_word}

bauble_new:
    {bauble=trinkets.a} that {magic=magics}

bargain_yes:
    {hero.The} thought of {dream}, and of how {traits} {hero.he} was, and said yes. {magic_fails}
    "Done!" {tag<hero>}, and they shook hands. {magic_fails}
    "Does it truly work?" {ask<hero>}. / "As truly as I am {someone}," {tag<stranger>}. And so they made the
        bargain. {magic_fails}

magic_fails:
    "{that_word}!" {tag<hero>}, and {hero.he} waited {number} minutes. Nothing happened.
    But the {bauble} was only {bauble.a}, and the {stranger} was gone. "{that_word}?" said {hero.the} once
        more, {speech_manners}.
    All that {times} {hero.he} {speech_verbs} "{that_word}" to the {bauble}, {speech_manners}. It did
        nothing.
    {hero.He} ran home to try it. "{that_word}, {that_word}!" Nothing happened, except that {small_beasts.a}
        crawled out.

bargain_regret:
    "Where is your {thing}?" {ask<kin>}. / "I have something better," {tag<hero>}. "It {magic}." /
        "{kin_laugh}" {tag<kin>}. {sad_now}
    {sad_now} At last {hero.he} told {hero.his} {kin} everything. / "{kin_laugh}" {tag<kin>}.
    {hero.His} {kin} looked at the {bauble} and {speech_verbs}: "{kin_laugh}" {sad_now}

kin_laugh:
    And pigs have wings!
    A {bauble} is {bauble.a}, whatever anyone says.
    Then ask it for {food}, for there is none in the house!
    Well, you have bought {virtues}, and that was never cheap.
    You had better go and ask for it back.

bargain_back:
    So {hero.the} {motions} after the {stranger}. {treks} / {hero.The} found {stranger.him} {any_place},
        eating {food}. {bargain_ask}
    All night {hero.the} lay awake. In the morning {hero.he} set out. {treks} / {stranger.The} was sitting
        {any_place}. {bargain_ask}

bargain_ask:
    "Your {bauble} does not work," {tag<hero>}. "I said {that_word} {number} times. Give me my {thing}!" /
        {bargain_price}
    "Please," {tag<hero>}, "give me back the {look} {thing}." / {bargain_price}
    {hero.The} put the {bauble} down. "It never {magic_past}," {tagp<hero>}. / {bargain_price}

magic_past:
    did what you said
    worked, not once
    did anything but smell of {herbs}

bargain_price:
    "A bargain is a bargain," {tag<stranger>}. "But my {farm_beast} is {sad}. Cure it, and we shall see."
        {hero.The} gave the {farm_beast} {herbs} and {food}, and soon it was well. {gave_back}
    "You shall have it when you have {chores_do}," {tag<stranger>}. It took {number} days. {gave_back}
    "I am sorry," {tag<stranger>}, and {stranger.he} turned as red as {a_treat}. "I was {sad}, and I have
        never owned {known_a}." {gave_back}
    "Guess my age, then," {tag<stranger>}. / "You are as old as your tongue and a little older than your
        teeth," {tag<hero>}. {stranger.The} laughed {speech_manners}. {gave_back}

gave_back:
    Then {stranger.he} gave {hero.him} the {thing}, and {number} {many_treats} too. {glad_end}
    So {hero.the} got the {look} {thing} back, and the {stranger} kept the {bauble}, which never
        {magic_past}. {glad_end}

chores_do:
    told me {number} stories about {topic}
    {deed}
    counted my {many_small_beasts}
    found me {number} {many_flowers} in one field
    washed my {cloth_things.s}
    brushed my {beast_looks} {farm_beasts}
"""

QUARREL = """
quarrel:
    {quarrel_title} / [{chat<hero,friend>} / |]{quarrel_words} / {quarrel_apart}[ {aside}| {aside} {aside}|]
        / {quarrel_rescue} / {quarrel_peace}[ / {chat<friend,hero>}|] / {quarrel_end} / /

quarrel_title:
    The Quarrel / {intro_new} {friends<friend=friend_name>} {finding<new>}
    {hero=hero_name.the} and {friend=friend_name.the} / {intro} {friends<friend>} {finding<new>}
    The {new_title} / {intro_new} {friends<friend=friend_name>} {finding<known>}

friends:
    {hero.His} best friend was {$1.the}, {traits.a} {friend.child} who lived with {friend.his} {kin_word},
        the {trade}.
    Next door lived {$1.the}, and the two of them {more_chores} together, ate {food} together and shared
        every {treat}.
    {hero.He} had {number} friends, but none like {$1.the}, who was {traits} and {traits}.

finding:
    {Fine_day}, {any_place}, they found {$1_a}. @2
    {Fine_day}, both of them saw {$1_a} at once, lying {any_place}.
    {weather} The two were looking for {many_treats} {any_place} when {a_bird} flew up, and there lay
        {$1_a}.
    {Fine_day}, they opened an old trunk. It held {wares}, and, under everything else, {$1_a}.

quarrel_words:
    "It is mine! I saw it first," {tag<hero>}. / "But I picked it up," {tag<friend>}. / {worse}
    "It would suit me well," {tag<friend>}. / "You? You are too {traits} for it," {tag<hero>}. / {worse}
    "We could share it," {tag<friend>}. / "Who can share {known_a}?" {ask<hero>}. / {worse}

worse:
    "Then keep it," {tag<friend>}, "and may it turn into {a_treat}!"
    They shouted until the {many_birds} flew away. {friend.The} threw {a_treat}, and {hero.the} threw
        {number}.
    "You are as stubborn as {a_farm_beast}," {tag<friend>}. / "And you smell like {a_farm_beast},"
        {tag<hero>}.
    So {hero.the} took the {thing} and {motions} home, and {friend.the} {motions} the other way.

quarrel_apart:
    For {number} days they did not speak. {apart} {sad_now}
    {apart} {apart2} {sad_now}

apart:
    {hero.The} {deed} alone, and it was [dull|no fun|twice the work].
    {hero.The} set the {look} {thing} on the {chattel} and looked at it, but it gave {hero.him} no joy.
    When {friend.the} passed the {near_place}, {hero.the} hid behind {a_tree}.

apart2:
    "You look {sad}," {tag<kin>}. "{proverb}."
    "Have you two quarrelled?" {ask<kin>}. / "No," {tag<hero>}, which was not true.
    Even the {food} tasted of {herbs}.

quarrel_rescue:
    Then, {fine_day}, came the news: {friend.the} had not come home. {weather} {hero.The} took the {thing}
        and ran. {trek} / {rescue}
    {Fine_day}, {fur=beast_looks.a} {beast=beast_kind} came to the window. "{friend.The} is in trouble,"
        {tagp<beast>}. "Come at once!" {hero.The} took the {look} {thing} and followed. {trek} / {rescue}

rescue:
    {friend.The} was sitting {a_place}, with a twisted {joints}. {use_thing}
    In {place_looks.a} pit {a_place} sat {friend.the}, {sad} and covered in mud. {use_thing}
    {friend.The} had climbed {a_tree} {a_place} and could not get down. {use_thing}

use_thing:
    "Is that you?" {ask<friend>}. / "Nobody else," {tag<hero>}, and held out the {look} {thing} so that
        {friend.he} could [hold on|pull|see it].
    {hero.The} let down a rope of {cloth_looks} {cloth_things.s}, with the {thing} tied to the end of it,
        and pulled until {hero.his} {body_parts} hurt.
    {hero.The} waved the {look} {thing} until {someone} saw it and came to help.

quarrel_peace:
    "I am sorry," {tag<hero>}. "You can have the {thing}." / "I am sorry too," {tag<friend>}. "{peace}"
    "Why did you come?" {ask<friend>}. / "Because {known_a} cannot {friend_deed}," {tag<hero>}. "{peace}"
    They looked at each other, and then both of them laughed. "{peace}" {tag<friend>}.

friend_deed:
    {laugh_deed}
    {laugh_deed} or {sing_deed}

laugh_deed:
    laugh at my jokes
    eat {food} with me
    tell me that I am {traits}

sing_deed:
    sing about {many_farm_beasts}
    be sorry
    walk home with me

peace:
    Let us keep it together, one week with you and one week with me!
    Let us give it to the {trade}, and have {food} instead!
    Let us never speak of it again!
    Let us go home!

quarrel_end:
    Since then {hero.the} and {friend.the} have never quarrelled, except about {food}. {keepsake}
    {glad_end} And {friend.the}? {friend.He} was {glad} too. {keepsake}
    {keepsake} And on the bench beside it, every {times}, sit {hero.the} and {friend.the}, {glad} and
        {traits} as ever.
    {moral} {keepsake}
"""

FEAST = """
feast:
    {feast_title}[ {aside}| {aside} {aside}|] / {feast_lack} / {feast_guest} / {feast_share}[ /
        {chat<stranger,hero>}|][ / {chat<kin,stranger>}|] / {feast_gift} / {finish} / /

feast_title:
    The {feast_word} Feast of {home=village} / {hero=hero_name.the} lived there with {hero.his}
        {kin=kin_kind}. {habit} {feast_near}
    {hero=hero_name.the}'s Guest / {intro} {feast_near}
    A Place at the Table / {intro_new} {feast_near}

feast_word:
    Great
    First
    Last
    {beast_looks.Title} {farm_beasts.Title}
    {flowers.Title}

feast_near:
    {Number} days before the {feasts}, everyone was busy. {Someone} {deed}, {someone} {deed}, and
        {vessels.a} of {many_treats} stood by every door.
    {Fine_day}, the mayor said that there would be a feast, and that each must bring [the best|something
        good|what] they had.
    {weather} It was the {times} of the {feasts}, and the whole of {home} smelled of {food}.

feast_lack:
    But in {hero.the}'s house there was only {food}, and not much of that. {sad_now} / {kin_says}
    {hero.The} wanted to bring {food}, but the pot was empty. There was one {treat} left. {sad_now} /
        {kin_says}
    {hero.The} had made {food} with {herbs}, but {beast_looks.a} {farm_beasts} had eaten it. {sad_now} /
        {kin_says}

kin_says:
    "We shall bring what we have," {tag<kin>}, "and hold our heads high."
    "Can you not bring a song?" {ask<kin>}. / "They have heard all {number} of my songs," {tag<hero>}.
    "Somebody always brings too much," {tag<kin>}. "Last year it was {number} {many_treats}, and the
        {many_farm_beasts} got half."

feast_guest:
    On the way, {any_place}, sat {stranger_new}. "Have you anything to eat?" {ask<stranger>}. "I have had
        nothing but {herbs} tea since {fond_time2}." / {feast_doubt}
    There was a {noise_word} at the door. Outside stood {stranger_new}, wet to the {body_parts}. "May I sit
        by your fire?" {ask<stranger>}. / {feast_doubt}

fond_time2:
    Monday
    the {feasts}
    the first snow
    I left {village}

feast_doubt:
    The {trade} had sent {stranger.him} away, and so had the {trade}.
    {hero.The} looked at the {chattel}, at {hero.his} {kin}, and at the {stranger}.
    "Nobody goes hungry in {home}," {tag<hero>}, though it was not quite true.

feast_share:
    {hero.He} cut the last of the {food} into {number} pieces, and {stranger.he} ate {numbers2} of them.
    "Take it," {tag<hero>}, "all of it. I am not {feast_not}." {stranger.The} ate {speech_manners}.
    So they sat down together, and {hero.the} shared {food} and {a_treat}. "{feast_thanks}" {tag<stranger>}.

numbers2:
    all
    half
    most

feast_not:
    hungry
    {traits} enough for a feast
    fond of {food}

feast_thanks:
    This is better than the king's {food}!
    I have eaten in {number} towns, and never so well!
    It wants a little {herbs}, but it is good!

feast_gift:
    Then the {stranger} took {new_a} out of {stranger.his} [pocket|sleeve|bag|hat|boot|{cloth_looks}
        {cloth_things}]. "{gift_words}" {tagp<stranger>}. / {gift_works}
    When the plate was empty, {stranger.he} stood up. On the {chattel} lay {new_a}. "{gift_words}"
        {tag<stranger>}. / {gift_works}

gift_words:
    I have carried this for {number} years, looking for somebody {traits}!
    Set it on the table at the feast, and see what happens!
    It is yours, for your {virtues}!
    It was made in {village}, by {someone} who owed me a supper!

gift_works:
    That night, at the feast, {hero.the} put the {look} {thing} on the table, and at once there was {dishes}
        for everyone. {feast_crowd} {glad_end}
    "But who are you?" {ask<hero>}. / "Only {stranger.a}," {tag<stranger>}. When {hero.the} looked again,
        there was nobody there. {glad_end}
    The whole of {home} came to see the {look} {thing}, and each of them brought {food} or {many_treats}. So
        they had a feast after all, with {dishes}. {glad_end}
"""

STORM = """
storm:
    {storm_title}[ {aside}| {aside} {aside}|] / [{chat<kin,hero>} / |]{storm_comes} / {storm_out} /
        {storm_beast} / {storm_light} / {storm_over}[ {beast_end}|] / {finish} / /

storm_title:
    The Night of the Storm / {intro_new} {prized<new>}
    {hero=hero_name.the} and the Storm / {intro} {prized<new>}
    The {new_title} / {intro_new} {prized<known>}

storm_comes:
    {Fine_day}, the sky turned as black as {foods_black}. The wind {wind_deeds}. Then it {wind_deeds}.
        {people_run}
    First the {many_birds} fell silent. Then the wind {wind_deeds}, and {number} {many_trees} fell
        {any_place}. {people_run}
    "There is a storm coming," {tag<kin>}. "My {body_parts} tells me so." By {hours} the wind {wind_deeds}.
        {people_run}

foods_black:
    {a_bird}
    a stove
    ink
    the inside of {cloth_things.a}

people_run:
    {Someone} ran for home with {vessels.a} of {many_treats}. The {many_farm_beasts} cried in the stable.
    Everyone {motions} indoors and [shut|barred|bolted] the windows. Somewhere there was a {noise_word}.
    {Someone} lost {ware}, and {someone} lost {number} {many_farm_beasts}.
    {Crowd} {motions} to the {near_place} and hid.
    Away flew {wares}, and nobody saw where they went.

storm_out:
    "Did you hear that?" {ask<hero>}. / "It was only the {chattel}," {tag<kin>}. / "No," {tag<hero>}.
        "Somebody is out there." {takes_it}
    Through the noise came a {noise_word}. "{storm_cry}" {tag<hero>}. / "{kin_warns}" {tag<kin>}. {takes_it}

storm_cry:
    Something is crying!
    I must go and look!
    Listen!
    That was no {chattel}!

kin_warns:
    Be careful, then, and hold on to the hedge!
    It is {cold_weathers} out there, and you have only {cloth_looks.a} {cloth_things}!
    Nobody should go out on such a night!

takes_it:
    {hero.The} took the {look} {thing} and went out. {storm_way}
    With the {thing} under {hero.his} [coat|cloak|arm|{cloth_looks} {cloth_things}], {hero.the} {motions}
        into the dark. {storm_way}

storm_way:
    {hero.He} fell {number} times.
    Rain ran down {hero.his} {body_parts}.
    Hail as big as {many_treats} fell on the {path}.
    {cold_trouble}

storm_beast:
    {meet_beast} {help_beast} / {beast_thanks}

storm_light:
    But now they [could not find|had lost] the way home[ in the dark|]. "Hold up the {thing}," {tag<beast>}.
        "{thing_helps}" / {it_worked}
    "Which way is {home}?" {ask<hero>}. / "Give me your {thing} for a moment," {tag<beast>}. "{thing_helps}"
        / {it_worked}

thing_helps:
    Anything {look} shines in the lightning, and so will your {thing}!
    In {village} they say that {known_a} always points home!
    They will know it when they see it!

it_worked:
    And so it was: {someone} saw the {look} {thing} from the {near_place} and came with {number} men.
    {hero.The} did so, and a flash lit up the {near_place}, the {inside_place} and the roofs of {home}.
    Whether it was the {thing} or good luck, in {number} minutes they stood before {hero.his} {kin}'s door.

storm_over:
    In the morning the sky was {warm_weathers}. The storm had [carried off|broken|buried|scattered] {wares},
        but nobody was hurt. {beast_stays}
    By {hours} the storm was over. {aside_road} {beast_stays}

beast_stays:
    The {fur} {beast} stayed for {number} days, and then for good. {glad_end}
    "I must go," {tag<beast>}, "but I shall come again at the {feasts}." And it did. {glad_end}
    {hero.The} and {hero.his} {kin} gave the {beast} {food} by the fire, and it slept under the {chattel}.
        {glad_end}
"""

RIDDLE = """
riddle:
    {riddle_title}[ {aside}| {aside} {aside}|] / [{chat<stranger,hero>} / |]{riddle_asked} / {riddle_wrong}
        / {riddle_think}[ {aside}| {aside} {aside}|] / {riddle_right} / {riddle_end} / /

riddle_title:
    The Riddle / {intro_new} {riddle_comes<stranger_new>}
    The {stranger=stranger_kind.Title}'s Riddle / {intro_new} {riddle_comes<stranger_known>}
    {hero=hero_name.the} and the {stranger=stranger_kind.Title} / {intro} {riddle_comes<stranger_known>}

riddle_comes:
    {Fine_day}, {$1} stood by the {near_place} and would let nobody pass.
    {Fine_day}, {$1} came to {home} with {vessels.a} of {many_treats}, and a crowd gathered.
    {weather} In the middle of {home} sat {$1}, {any_place}, and [smiled|yawned|waited].

riddle_asked:
    "I have one riddle," {tag<stranger>}. "{puzzle=riddle_kind} Whoever can tell me shall have [the finest
        thing I own|a prize|what is in my bag]."
    "Listen," {tag<stranger>}. "{puzzle=riddle_kind}" / Nobody spoke. The wind {wind_deeds}.

riddle_wrong:
    {guess} / {guess2}
    {guess} / {guess2} / {guess3}

guess:
    "{treats.A}?" {asked_by}. / "No," {tag<stranger>}.
    {Someone} thought that it must be {a_farm_beast}. {stranger.The} shook {stranger.his} head.
    {Crowd} {speech_verbs} [together|for a while|in a corner]. "Is it {ware}?" they asked. It was not.

guess2:
    "Perhaps it is {ware}," said {someone}. / "Wrong," {tag<stranger>}.
    Even {someone}, who had read {number} books about {topic}, could only think of {a_small_beast}.
    "I know! It is {dishes}!" {asked_by}, who was always hungry. / "You may try again on {days},"
        {tag<stranger>}.

guess3:
    Somebody guessed {food}, but that was because it was nearly time for supper.
    {beast_looks.A} {farm_beasts} looked on, and said nothing, which was wiser.
    {Crowd} [gave up|went home|shook their heads|began to argue].
    "{virtues.Cap}?" asked {someone}. "{virtues.Cap}?" asked {someone}. But it was neither.

riddle_think:
    {hero.The} went home and {deed}, and thought. {hero.He} {deed}, and thought. {sad_now} Then {hero.he}
        saw it.
    "{puzzle}" {hero.the} said to {hero.himself} all that {times}. {hero.He} asked {hero.his} {kin}. /
        "{kin_riddle}" {tag<kin>}.
    {hero.The} {motions} to the {near_place} and back, {motion_manners}. {weather} All at once {hero.he}
        laughed.

kin_riddle:
    Do not look so far away!
    You have seen it {number} times today!
    I knew it once, but that was before I had {number} grandchildren!
    Sleep on it!

riddle_right:
    "{puzzle.Answer}!" {tag<hero>}. / {stranger_yields}
    "I know," {tag<hero>}. "It is {puzzle.answer}." / {stranger_yields}
    Once more {stranger.the} asked: "{puzzle}" / "{puzzle.Answer}," {tag<hero>}. / {stranger_yields}

stranger_yields:
    {stranger.The} [laughed|bowed|clapped|threw up {stranger.his} hat]. "In {number} years you are the
        first," {tagp<stranger>}, and gave {hero.him} {prize}.
    "Right!" {tag<stranger>}, and out of {stranger.his} [pocket|sleeve|bag|hat|boot|{cloth_looks}
        {cloth_things}] {stranger.he} took {prize}.

prize:
    {new_a}

riddle_end:
    {finish}
    {glad_end} {keepsake}
    {keepsake} And when children come to {home}, {hero.the} asks them: "{puzzle}" / Do you remember? It is
        {puzzle.answer}.
"""

NOISE = """
noise:
    {noise_title}[ {aside}| {aside} {aside}|] / {noise_night}[ / {chat<kin,hero>}|] / {noise_watch} /
        {noise_found} / {noise_help}[ / {chat<beast,friend>}|] / {noise_gift} / {finish} / /

noise_title:
    The {sounds.Title} in the Night / {intro_new}
    What {hero=hero_name.the} Heard / {intro}
    The Guest under the {furniture.Title} / {intro_new} {weather}

noise_night:
    {Fine_day}, {hero.the} woke up. There was a {sound=sounds} in the house, and then [another|a
        second|silence]. {noise_more}
    Every night, when the lamp was out, {hero.the} heard a {sound=sounds}. {noise_more}
    It began with a {sound=sounds}, {fine_day}. {noise_more}

noise_more:
    "It is the wind," {tag<kin>}, "or the {chattel}." But {hero.the} was not so sure. {missing}
    "A ghost!" said the {trade}. "{birds.A}," said the {trade}. Nobody knew. {missing}
    {sad_now} {missing}

missing:
    In the morning, {number} {many_treats} were missing.
    In the morning there were [small|muddy|strange|wet] footprints in the {food}.
    In the morning, somebody had [eaten|tasted|spilled] the {food} and left {trinkets.a}.
    In the morning, {wares} lay on the floor.
    In the morning there was no sign of the {food}, and {ware} had been [moved|chewed|hidden|gnawed].

noise_watch:
    So {hero.the} asked {friend=friend_name.the}, {traits.a} {friend.child} from next door, to help. They
        sat behind the {chattel} with {other_a} and {vessels.a} of {many_treats}.{watch_talk}
    "Tonight I shall catch it," said {hero.the} to {friend=friend_name.the}, who was {traits} and afraid of
        nothing but {many_small_beasts}. They hid under the {chattel}.{watch_talk}

watch_talk:
    / "Are you {sad}?" {ask<friend>}. / "No," {tag<hero>}. "Are you?" / "A little," {tag<friend>}. /
        {then_sound}
    / They waited {number} minutes, and {friend.the} ate {number} {many_treats}. "Be quiet!" {tag<hero>}. /
        {then_sound}
    / Outside, the wind {wind_deeds}. {friend.The} told a story about {someone}, who {deed}, to pass the
        time. / {then_sound}

then_sound:
    Then it came: a {sound}, quite near.
    At midnight they heard it: a {sound}, and a {noise_word}.
    Then the {chattel} moved, and there was the {sound} again.

noise_found:
    {hero.The} lit a candle. It was no ghost. It was {fur=beast_looks.a} {beast=beast_kind}, and it
        {beast_hides}.
    {friend.The} pulled the {cloth_things} away, and there sat {fur=beast_looks.a} {beast=beast_kind}, which
        {beast_hides}.

beast_hides:
    trembled from nose to tail
    had {a_treat} in its mouth
    was wearing {hero.the}'s {cloth_looks} {cloth_things}
    looked very {sad}

noise_help:
    "Please do not be angry," {tag<beast>}. "{beast_needs}" / {they_help}
    "Who are you, and why do you make such a {sound}?" {ask<friend>}. / "{beast_needs}" {tag<beast>}. /
        {they_help}

beast_needs:
    It is {cold_weathers} outside, and I have {number} little ones!
    I used to live {any_place}, until the {trade} cut down the {many_trees}!
    I am far from home, and I have had no {food} for {number} days!
    All I wanted was {a_treat}, and somebody to talk to!

they_help:
    {hero.The} looked at {friend.the}, and {friend.the} looked at {hero.the}. They gave the {beast} {food},
        and made it a bed of {cloth_looks} {cloth_things.s}.
    "Stay with us, then," {tag<hero>}, "but not so loud." {friend.The} ran to fetch {food} and
        {many_treats}.
    "You might have knocked," {tag<friend>}, but {friend.he} was already warming the {food}.

noise_gift:
    {Number} days later, the {beast} brought {new_a} [in its mouth|tied to its tail|on its back].
        "{gift_beast}" {tagp<beast>}. {glad_end}
    When {many_trees} were green again, the {fur} {beast} went away. On the {chattel} it left {new_a}.
        {glad_end}

gift_beast:
    I found it {any_place}!
    It is for both of you, for your {virtues}!
    My family has kept it for {number} years!
"""

APPRENTICE = """
apprentice:
    {apprentice_title} / {apprentice_rule} / {apprentice_work}[ {aside}| {aside} {aside}|][ /
        {chat<stranger,hero>}|] / {apprentice_breaks} / {apprentice_tells} / {apprentice_mends} / {finish} /
        /

apprentice_title:
    The {stranger=stranger_kind.Title}'s Apprentice / {intro_new} {apprentice_leaves<stranger_known>}
    {hero=hero_name.the} Learns a Trade / {intro} {apprentice_leaves<stranger_new>}
    {hero=hero_name.the} and the {stranger=stranger_kind.Title} / {intro}
        {apprentice_leaves<stranger_known>}

apprentice_leaves:
    {Fine_day}, {hero.his} {kin} took {hero.him} to {$1} who needed help, and left {hero.him} there with
        {vessels.a} of {many_treats}.
    Then, {fine_day}, {hero.he} went to work for {$1} {any_place}.
    But {food} does not buy itself, and {fine_day} {hero.he} became apprentice to {$1}.

apprentice_rule:
    "You may touch everything but this," {tag<stranger>}, and pointed to {new_a} on the {chattel}. /
        {apprentice_why}
    In {stranger.his} room stood {new_a}. "Never lay a finger on it," {tag<stranger>}. / {apprentice_why}

apprentice_why:
    "Why not?" {ask<hero>}. / "Because it was my {kin_words}'s," {tag<stranger>}, "and because I say so."
    "I promise," {tag<hero>}, but {hero.he} looked at it every {times}.
    "Is it magic?" {ask<hero>}. / "All {look} things are a little magic," {tag<stranger>}.

kin_words:
    teacher
    sister
    father
    daughter
    oldest friend

apprentice_work:
    {hero.The} {deed}, {deed}, and learned to tell {trees} from {trees}. {work_more}
    The work was hard. {hero.He} {chores} before dawn and {more_chores} after dark. {work_more}
    {hero.He} made {number} mistakes on the first day, and {number} on the second. {work_more}

work_more:
    "Not bad," {tag<stranger>}. "In {number} years you may be of use."
    In the evenings there was {dishes}, and {stranger.he} told tales of {topic}.
    {stranger.The} was {traits}, but fair, and {hero.his} {body_parts} grew strong.
    Only the {farm_beast} was unkind to {hero.him}.
    In the first [week|month|year] they made {wares}.
    In the workshop stood {wares}, and {hero.he} dusted them every {days}.
    {Crowd} came with {wares} to be mended.

apprentice_breaks:
    {Fine_day}, {stranger.the} was away. {weather} {hero.The} only wanted to dust the {thing}. There was a
        {noise_word}, and it lay on the floor in {number} pieces. {sad_now}
    {Fine_day}, {a_small_beast} landed on {hero.the}'s {body_parts}. {hero.He} jumped, {hero.his}
        {body_parts} struck the {look} {thing}, and down it came with a {sounds}. {sad_now}

apprentice_tells:
    {hero.He} could have said that it was the {farm_beast}. {hero.He} could have run away to {village}. But
        when the {stranger} came home, {hero.he} {speech_verbs}: "I broke the {thing}." / {stranger_answer}
    "What is it?" {ask<stranger>}. / "The {look} {thing} is broken," {tag<hero>}, "and I broke it. I am
        sorry." / {stranger_answer}

stranger_answer:
    {stranger.The} was silent for {number} minutes. "I broke it too, when I was your age," {stranger.he}
        said at last. "{lets_mend}"
    "{lets_mend}" {tag<stranger>}. "{things_and_truth}"
    "Look at me," {tag<stranger>}. "{things_and_truth} {lets_mend}"

lets_mend:
    Fetch the glue, and {vessels.a} of {many_treats}, for it will be a long night!
    What was made once can be made twice!
    Now you shall learn how to mend things!

things_and_truth:
    {look.A} {thing} can be mended, but a lie cannot.
    I can find another {thing}, but not another {traits} apprentice.
    It is {virtues} that I wanted to teach you, and you have it already.

apprentice_mends:
    They worked until {hours}, with wax, thread and {number} {metal_things.s}. The {thing} was whole again,
        though a little crooked. "{now_yours}" {tag<stranger>}. {glad_end}
    It took {number} days. At the end of them the {look} {thing} was better than new, and {hero.the} knew
        the trade. "{now_yours}" {tag<stranger>}. {glad_end}

now_yours:
    Take it home to {home}. It is yours!
    You have earned it!
    Let it remind you of {virtues}!
"""

SWAPS = """
swaps:
    {swaps_title} / {swap<look,thing,look1,item1>} / {swap<look1,item1,look2,item2>} / {swaps_on2} /
        {finish} / /

swaps_on2:
    {swap_back<look2,item2>} / {swaps_told2}
    {swap<look2,item2,look3,item3>} / {swaps_on3} @2

swaps_on3:
    {swap_back<look3,item3>} / {swaps_told3}
    {swap<look3,item3,look4,item4>} / {swap_back<look4,item4>} / {swaps_told4}

swaps_title:
    The Long Way Round / {intro_new} {prized<new>} {swaps_leave}
    {hero=hero_name.the} in Luck / {intro} {prized<new>} {swaps_leave}
    {hero=hero_name.the} and the {new_title} / {intro} {prized<known>} {swaps_leave}
    The {new_title} that Came Back / {intro_new} {prized<known>} {swaps_leave}

swaps_leave:
    {Fine_day}, {hero.he} took it [to market|to the {feasts}|to {village}|along] to show it to {someone}.
    But {hero.he} wanted {dream}, and {fine_day} {hero.he} set out to find it.
    {Fine_day}, there was nothing to eat but {food}, and {hero.he} went to see what the {thing} would fetch.

swap:
    {swap_where} {hero.he} met {someone}, who had {swap_item<$3,$4>}. "{swap_say<$1,$2>}," {swap_who}. So
        they changed, and {hero.the} {motions} on with the {$4}, {motion_manners}.
    {swap_where} {someone} {deed}, and saw the {$1} {$2}. "{swap_say<$1,$2>}," {swap_who}. {hero.The} got
        {swap_item<$3,$4>} for it, and thought it a good bargain.
    {swap_where} stood {someone} with {wares}. "{swap_say<$1,$2>}," {swap_who}, and there it was:
        {swap_item<$3,$4>} in place of the {$2}.
    {Someone} was {sad} for want of {$1.a} {$2}. "Here, have mine," {tag<hero>}, and for thanks {hero.he}
        was given {swap_item<$3,$4>}.

swap_where:
    On the {path}
    By the {near_place}
    Behind the {inside_place}
    Not far from {village}
    Under {a_tree}
    On {days}, near the {near_place},

swap_who:
    said the [other|stranger|newcomer|owner]
    said the [other|stranger|newcomer|owner] {speech_manners} @3

swap_say:
    I have always wanted {$1.a} {$2}
    My {farm_beast} would love that {$2}
    Nobody in {village} has {$1.a} {$2}
    {$1.A} {$2} is just what I need for {virtues}
    With that {$2} I could please {someone}
    I lost {$1.a} {$2} on {days}, and yours is better

swap_item:
    {$1=metal_looks.a} {$2=metal_things}
    {$1=wooden_looks.a} {$2=wooden_things}
    {$1=cloth_looks.a} {$2=cloth_things}
    {$1=glass_looks.a} {$2=glass_things}
    {$1=beast_looks.a} {$2=farm_beasts} @2

swap_back:
    At last {hero.he} came to {someone}, who had {many_treats}, {number} {metal_things.s} and {known_a}.
        {hero.The} looked twice: it was the very same {thing}! "Will you take the {$1} {$2} for it?"
        {ask<hero>}, and the thing was done.
    {trek} There sat {someone} and {deed}. And what lay there, between {ware} and {ware}? {hero.His} own
        {look} {thing}! "I will give you {$1.a} {$2} for that," {tag<hero>}. {glad_end}
    By {hours} {hero.he} was near {home} again, and {someone} called: "Who will give me {$1.a} {$2} for
        {known_a}?" {hero.The} did not have to be asked again. {glad_end}

swaps_told2:
    "What have you been doing?" {ask<kin>}. / "I swapped the {thing} for the {item1}, the {item1} for the
        {item2}, and the {item2} for the {thing}," {tag<hero>}. / {swaps_laugh}
    The {thing} had become the {item1}, the {item1} had become the {item2}, and the {item2} had become the
        {thing}. / {swaps_laugh}

swaps_told3:
    "Where have you been?" {ask<kin>}. / "I swapped the {thing} for the {item1}, the {item1} for the
        {item2}, the {item2} for the {item3}, and the {item3} for the {thing}," {tag<hero>}. / {swaps_laugh}
    First the {thing}, then the {item1}, then the {item2}, then the {item3}, and then the {thing} again! /
        {swaps_laugh}

swaps_told4:
    "What did you get for the {thing}?" {ask<kin>}. / "The {item1}," {tag<hero>}, "and for the {item1} the
        {item2}, and for the {item2} the {item3}, and for the {item3} the {item4}, and for the {item4} this
        {thing}." / {swaps_laugh}
    The {thing}, the {item1}, the {item2}, the {item3}, the {item4}, and the {thing} again: that was
        {hero.his} {times}. / {swaps_laugh}

swaps_laugh:
    "{proverb}," {tag<kin>}.
    {hero.His} {kin} laughed until {hours}, and cooked {dishes}.
    "Then you are as rich as you were," {tag<kin>}, "and {number} miles wiser."
    "Tell that to {someone}," {tag<kin>}, "who {deed} on {days}, and was none the better for it."
"""

WEEK = """
week:
    {week_title} / On Monday {week_day} / On Tuesday {week_day} / On Wednesday {week_find} / On Thursday
        {week_day} / On Friday {week_ask} / On Saturday {week_owner} / {week_end} / /

week_title:
    A Week in {home=village} / {hero=hero_name.the} lived there with {hero.his} {kin=kin_kind}. {habit}
    {hero=hero_name.the}'s Week / {intro}
    The Week before the {feasts.Title} / {intro_new}

week_day:
    {hero.the} {deed} with {someone}. {aside_deed}
    {hero.the} {deed}, and {hero.his} {kin} {deed}. {glad_or_sad}
    {hero.the} {deed} until {hours}. Then {hero.he} {deed}. {aside}
    it was {cold_weathers}. {hero.The} [stayed at home and|sat down and|got up early and] {deed}. {aside}
    {crowd} came to visit, and there was {dishes}. {hero.The} {deed}.
    {hero.the} and {someone} {deed}. They {deed}, too, and went home by way of the {near_place}.

glad_or_sad:
    {hero.The} was {glad}.
    {hero.The} was {sad}, and nobody knew why.
    Both of them were {glad}.
    {aside}

week_find:
    {hero.the} {deed}, and in the grass by the {near_place} {hero.he} found {new_a}. "I wonder whose it is,"
        {tag<hero>}.
    {hero.the} opened the {chattel} and found {new_a} that {hero.he} had never seen before. "Whose is this?"
        {ask<hero>}. / "Not mine," {tag<kin>}.
    {a_bird} flew over the {near_place} and let something fall. It was {new_a}. {hero.The} kept it safe in
        {ware}.

week_ask:
    {hero.the} asked everyone about the {thing}. {Someone} knew nothing, and {someone} only {deed}. "Have
        you lost {known_a}?" {hero.he} asked {someone}. / "No, only {ware}," was the answer.
    {hero.the} put up a sign by the {near_place}: 'Found: {known_a}.' {Crowd} came to read it, but none of
        them had lost {known_a}.

week_owner:
    {friend=friend_name.the} came, {traits.a} {friend.child} from {village}, and saw the {look} {thing}.
        "That is mine!" {tag<friend>}. "I lost it when I {deed}." / {week_thanks}
    there was a knock at the door. It was {friend=friend_name.the} from {village}. "They say that you have
        found {known_a}," {tag<friend>}. "I have missed it since I {deed}." / {week_thanks}

week_thanks:
    {hero.The} gave it back at once, though {hero.he} had grown fond of it. For thanks, {friend.the} gave
        {hero.him} {wares}.
    "Then take it," {tag<hero>}. {friend.The} [danced|jumped|laughed|shouted|cried|sang] with joy, and they
        ate {dishes} together.
    "How can I be sure?" {ask<hero>}. / "It has a scratch in the shape of {a_bird}," {tag<friend>}. And so
        it had.

week_end:
    On Sunday {hero.the} and {friend.the} {deed}. {moral}
    On Sunday nothing happened at all, and {hero.the} was {glad}. {moral}
    On Sunday {hero.the} rested. Far away in {village}, the {look} {thing} was on {friend.the}'s {furniture}
        again, where it belonged. {moral}
    On Sunday came a letter. "The {thing} sends its love," it said. "Yours, {friend}." {glad_end}
"""

SOURCE = "\n".join(
    (PLOTS, COMMON, LOST, ERRAND, BARGAIN, QUARREL, FEAST, STORM, RIDDLE, NOISE, APPRENTICE, SWAPS, WEEK)
)
"""All rules of the corpus."""
