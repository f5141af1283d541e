"""The words of the corpus `tales`, and the forms in which its grammar writes them."""

from collections.abc import Callable
from itertools import product

from aeattn.data.tales_grammar import Entry

# --- Names --------------------------------------------------------------------------------------------------

HERO_GIRLS = """
Ada Agnes Alma Amara Anya Asta Avis Bella Beryl Birdie Britta Clara Cora Dalia Daphne Delia Dora Edda Effie
Elin Elsbet Emmy Esme Fern Freya Gerda Greta Hazel Hedda Ida Ilse Imke Ines Ingrid Iris Isolde Ivy Jenny
Jessamy Junia Kaya Keziah Kirsten Lena Lettie Linnet Lotta Lucy Lydia Mabel Mara Marit Matilda Mina Mirabel
Nell Nessa Nora Olive Oona Orla Petra Phoebe Pilar Polly Rhea Rosa Runa Sabine Selma Signe Sunniva Tabitha
Tamsin Thea Tilda Una Ursula Vera Wanda Wilma Winifred Yara Zelda Zora
"""
HERO_BOYS = """
Abel Adrian Alban Aldo Alfred Anders Anselm Arno Axel Barnaby Basil Benno Bertram Bjorn Bruno Caleb Casper
Cedric Colin Conrad Cosmo Cyril Dario Darius Edgar Edmund Eino Elias Emil Enzo Erik Ezra Fabian Felix Finn
Florian Fritz Gilbert Gregor Gunnar Gustav Halvard Hamish Hans Harald Henrik Hugo Ivo Jasper Joachim Jonas
Jory Julian Kai Kaspar Klaus Lars Leander Leo Linus Lorenz Luca Lukas Magnus Marek Matteo Milo Moritz Nils
Oren Oscar Otto Pascal Piet Quentin Ralf Rasmus Rowan Rufus Silas Simon Stefan Sven Tobias Victor
"""
FRIEND_GIRLS = """
Adela Alva Amelie Beatrix Bettina Brenna Carlotta Cecily Celeste Constance Damaris Dinah Dorothy Edith
Elspeth Enid Estelle Eunice Flora Frances Gemma Gisela Gwen Helga Henny Hettie Hilda Honor Ilona Jacinta
Josie Juno Karin Katya Lavinia Leonie Liv Lorna Magda Maisie Marigold Maud Meret Minna Moira Nadia Odette
Ottilie Pamela Pearl Perdita Prudence Ragna Romy Rowena Saskia Sibyl Sigrid Sonja Stella Svea Tatiana Tess
Tova Valda Viola Wenna Willa Xenia Yvonne Zita
"""
FRIEND_BOYS = """
Alaric Ambrose Angus Archie Arvid Augustin Balthazar Bastian Bernard Boris Bram Carlo Clement Corin Crispin
Dag Damian Dirk Dominic Duncan Eamon Edwin Egon Emrys Ernest Evander Ferdinand Fergus Fidel Flynn Garrick
Godfrey Griffin Gustin Hector Horace Humphrey Ignatz Igor Jarek Jerome Jorn Knut Laszlo Levin Loris Ludwig
Malcolm Manfred Mungo Ned Nestor Niklas Noel Olaf Orson Osric Owen Percy Pieter Ramon Reuben Roland Roscoe
Samson Sandor Seamus Tam Theo Timothy Ulric Urban Walter Wendel
"""

VILLAGE_STARTS = """
Alder Amber Apple Ash Barley Beck Birch Black Bram Bright Broad Brook Bur Cobble Cold Copper Crow Deep Elder
Elm Fair Fallow Fen Gold Goose Green Grey Hare Hart Haw High Hollow Honey Kettle Lark Linden Long Lower
Maple Marl Mill Moss North Oat Old Otter Over Pebble Raven Red Rook Rush Salt Silver South Stone Swan
Thistle Thorn Under Wester Whin White Wind Winter Wood Wren
"""
VILLAGE_ENDS = """
beck bourne bridge brook bury by combe cote cross dale den field ford gate ham hollow hurst ley mead mere
minster moor more ness pool ridge stead sted ton wall water well wick wold worth
"""

# --- People and animals -------------------------------------------------------------------------------------

STRANGER_MEN = """
archer, baker, beekeeper, bell ringer, blacksmith, boatman, bookbinder, brewer, brickmaker, broom seller,
carpenter, carter, charcoal burner, chimney sweep, clockmaker, cobbler, cooper, coppersmith, drover,
ferryman, fiddler, fisherman, forester, gardener, gatekeeper, glassblower, goldsmith, hermit, juggler, knife
grinder, lamplighter, lighthouse keeper, locksmith, miller, minstrel, monk, mapmaker, soldier, pedlar,
ploughman, postman, potter, puppeteer, ragman, roofer, ropemaker, saddler, sailor, salt merchant,
schoolmaster, sexton, shepherd, shoemaker, stonemason, tailor, tanner, tinker, toll keeper, toymaker, wagon
driver, wheelwright, woodcarver, woodcutter
"""
STRANGER_WOMEN = """
abbess, baroness, candlemaker, cheese maker, cook, dairymaid, dressmaker, duchess, egg seller, embroiderer,
farmer's wife, fishwife, flower seller, fortune teller, glove maker, goose girl, healer, herbalist,
housekeeper, innkeeper, jam maker, lacemaker, laundress, librarian, midwife, milkmaid, milliner, music
teacher, needlewoman, nun, widow, orange seller, painter, pastry cook, quilter, ribbon seller, seamstress,
schoolmistress, shepherdess, spice seller, spinner, storyteller, tightrope walker, ballad singer,
washerwoman, weaver, wise woman
"""
TRADES = """
baker, barber, basket weaver, beekeeper, bell founder, boatbuilder, bricklayer, butcher, button maker,
cabinetmaker, carpenter, cartwright, chandler, charcoal burner, clockmaker, cobbler, cooper, dyer, falconer,
farmer, piano tuner, fiddler, net maker, forester, fuller, gardener, glazier, grocer, hatter, horse doctor,
hunter, judge, knife grinder, lock keeper, mason, mayor, miller, minstrel, nailmaker, organist, papermaker,
plumber, poet, potter, printer, stonecutter, rat catcher, reed cutter, sailmaker, scribe, shepherd,
shipwright, smith, stable keeper, tailor, thatcher, tinsmith, treasurer, trumpeter, umbrella maker, vintner,
town crier, wool merchant
"""
KIN_WOMEN = "mother, grandmother, aunt, great-aunt, godmother"
KIN_MEN = "father, grandfather, uncle, great-uncle, godfather"
BEASTS = """
badger, bear, beaver, bullfrog, calf, cat, chipmunk, crane, deer, dog, donkey, dormouse, duck, falcon,
ferret, field mouse, fox, frog, goat, goose, squirrel, hare, hawk, hedgehog, heron, horse, kid, kitten,
lamb, lizard, lynx, marten, mole, mountain goat, mule, newt, otter, owl, ox, pigeon, pine marten, polecat,
pony, puppy, rabbit, ram, robin, seal, shrew, snow goose, sparrow, stag, stoat, stork, tabby cat, thrush,
toad, tortoise, turtle, vole, water rat, weasel, boar, wolf, wren
"""
THIEVES = "crow, jackdaw, jay, magpie, raven, rook, rat"
MAGICS = """
brings luck on Fridays, can call up the wind, cures every cough, finds lost sheep, grants one wish a year,
keeps away giants, makes its owner rich, makes the rain stop, never lets you oversleep, points to buried
gold, scares away mice, sings at midnight, tells the truth about everyone, turns soup into gold, turns
snails into princes, whistles when danger is near
"""
BIRDS = """
blackbird, coal tit, bunting, buzzard, chaffinch, cormorant, cuckoo, curlew, dove, finch, goldfinch, grouse,
gull, hoopoe, kestrel, kingfisher, kite, lapwing, lark, linnet, mallard, martin, moorhen, nightingale,
nuthatch, oriole, partridge, peacock, pheasant, pipit, plover, quail, sandpiper, skylark, snipe, starling,
swallow, swan, swift, tern, warbler, waxwing, woodcock, woodpecker
"""
FARM_BEASTS = (
    "bull, bullock, cockerel, cow, ewe, foal, gander, gosling, heifer, hen, mare, pig, rooster, sheep, sow"
)
SMALL_BEASTS = """
ant, bat, bee, beetle, bumblebee, butterfly, caterpillar, centipede, cricket, dragonfly, earthworm, earwig,
firefly, glow-worm, gnat, grasshopper, hornet, ladybird, mayfly, midge, mosquito, moth, slug, snail, spider,
tadpole, wasp
"""
FISH = """
bream, carp, cod, haddock, herring, mackerel, perch, pike, pilchard, plaice, roach, salmon, sole, sturgeon,
tench, trout, turbot
"""

# --- Things -------------------------------------------------------------------------------------------------

METAL_THINGS = """
arrowhead, axe, bell, bracelet, brooch, buckle, button, candlestick, chain, coin, compass, crown, cup, fish
hook, flute, goblet, hammer, hand mirror, horn, horseshoe, inkwell, kettle, key, ladle, lantern, locket,
medal, needle, padlock, pan, pendant, pin, plate, pot, ring, sickle, spoon, spur, teapot, telescope,
thimble, tray, trumpet, watch, whistle, barometer, bugle, can, chisel, corkscrew, cymbal, dagger, doorbell,
earring, file, fork, funnel, gong, hairpin, helmet, hinge, inkstand, jug lid, money box, nail, nutcracker,
pair of tongs, penknife, saw, spyglass, sword, tiara, triangle, tweezer case
"""
METAL_LOOKS = """
battered, bent, brass, bright, bronze, copper, dented, engraved, gilded, gleaming, golden, hammered, iron,
pewter, polished, rusty, scratched, shining, silver, steel, tarnished, tin
"""
WOODEN_THINGS = """
bowl, box, broom, bucket, chess piece, clock, drum, fiddle, footstool, harp, hobby-horse, hoop, jewel case,
lute, mallet, music box, oar, paddle, picture frame, pipe, puppet, rake, rattle, spade, spindle, spinning
top, staff, stool, violin, walking stick, yoke, bird whistle, chessboard, clothes peg, coat hanger, cricket
bat, crutch, dice cup, doorknob, flagpole, oboe, pepper mill, recorder, rolling pin, ruler, shield, signet
box, snuffbox, spice rack, tambourine, tinderbox, toy boat, toy horse, walking cane, weaving comb, yo-yo
"""
WOODEN_LOOKS = """
ashwood, beechwood, birchwood, carved, cherrywood, creaky, ebony, lacquered, notched, oak, painted,
pinewood, red, rosewood, rough, smooth, sturdy, three-legged, varnished, walnut, wooden, worm-eaten
"""
CLOTH_THINGS = """
apron, bag, banner, blanket, bonnet, cap, cape, cloak, coat, dress, flag, glove, gown, handkerchief, hat,
hood, jacket, kerchief, mitten, nightcap, patchwork quilt, pillow, purse, ribbon, sack, sash, scarf, shawl,
shirt, skirt, sock, stocking, tablecloth, towel, tunic, veil, waistcoat, belt, bib, blouse, garter, jerkin,
kilt, napkin, neckerchief, satchel, slipper, smock, turban, vest
"""
CLOTH_LOOKS = """
checked, cotton, crimson, embroidered, faded, flannel, frayed, fringed, green, knitted, lace, linen,
moth-eaten, muslin, patched, purple, quilted, satin, scarlet, silk, striped, tattered, threadbare, velvet,
woollen, yellow
"""
GLASS_THINGS = """
ball, basin, bead, bottle, cream jug, decanter, dish, doll, egg cup, flask, jar, jug, lampshade, marble,
mug, oil lamp, paperweight, pitcher, prism, salt cellar, saucer, sugar bowl, tile, tumbler, urn, vase, vial,
bead necklace, butter dish, candle holder, flowerpot, goldfish bowl, hourglass, inkpot, magnifying glass,
mustard pot, ornament, perfume bottle, pipkin, soup bowl, teacup, wine glass
"""
GLASS_LOOKS = """
amber, blue, chipped, clay, clear, cloudy, cracked, crystal, earthenware, enamelled, frosted, glass, glazed,
gold-rimmed, porcelain, round, speckled, sparkling, spotted, turquoise, violet, white
"""
PAPER_THINGS = """
account book, almanac, atlas, bookmark, cookery book, deed, diary, drawing, fan, hymn book, invitation,
letter, love letter, map, notebook, old book, pamphlet, parcel, picture book, poem, portrait, postcard,
recipe, scroll, sketchbook, songbook, story book, treasure map, bill, calendar, certificate, contract,
dictionary, essay, exercise book, lantern slide, ledger, logbook, manuscript, newspaper, pack of cards,
passport, playbill, prayer book, programme, receipt, report, telegram, theatre ticket, valentine
"""
PAPER_LOOKS = """
blotted, brittle, crumpled, curious, dog-eared, dusty, folded, forgotten, gilt-edged, handwritten,
illustrated, ink-stained, mysterious, precious, sealed, tiny, torn, unfinished, wrinkled, yellowed
"""
TRINKETS = """
acorn, basket, bit of string, bone comb, bunch of feathers, candle stump, chestnut, penny whistle, cork,
corn doll, crust of bread, dried rose, duck egg, empty nest, fir cone, fishing net, fossil, goose feather,
handful of nails, horn button, jam jar, lump of coal, lump of wax, nutshell, owl feather, paintbrush,
peacock feather, pebble, piece of chalk, pine cone, pot of glue, rag doll, reed pipe, scrap of paper,
seashell, shoelace, slingshot, snail shell, tassel, odd mitten, wishbone, soup spoon
"""
FURNITURE = """
bed, bench, bookcase, bread oven, broken barrel, coal scuttle, cupboard, dresser, fireplace, flour bin,
grandfather clock, hearthrug, kitchen table, laundry basket, log pile, mattress, piano, rain barrel,
sideboard, stove, stuffed armchair, trunk, wardrobe, washtub, window seat, woodshed, writing desk, cradle,
butter churn, loom, linen chest, spinning wheel, rocking horse, rocking chair, bath, cabinet, card table,
footrest, hat stand, high chair, larder, music stand, oven, plate rack, sewing table, shelf, sofa, umbrella
stand, wine rack, workbench
"""

# --- Places and the sky -------------------------------------------------------------------------------------

INSIDE_PLACES = """
beech wood, birch grove, bramble thicket, canyon, castle garden, cave, cavern, cellar, chapel, churchyard,
copse, courtyard, hamlet, dungeon, fir forest, glade, gorge, granary, hollow, maze, meadow, mine, monastery,
valley, oak wood, barn, orchard, palace garden, park, pine forest, quarry, ravine, ruined abbey, ruined
castle, stable, stone circle, tower, vineyard, walled garden, wilderness
"""
NEAR_PLACES = """
bakery, bathhouse, bridge, brook, canal, chapel gate, creek, crossroads, dam, duck pond, ferry, forge,
fountain, guildhall, harbour, inn, lake, library, lighthouse, lily pond, market hall, milestone, mill,
millpond, great oak, river, sawmill, school, signpost, spring, stepping stones, stream, tannery, toll gate,
town wall, waterfall, watermill, weir, well, willow, windmill
"""
TOP_PLACES = """
bare hill, cliff, clifftop, common, fell, headland, heath, high pass, island, moor, mountain, mountainside,
northern shore, plateau, ridge, riverbank, sandbank, slope, southern shore, village green
"""
PLACE_LOOKS = """
ancient, bleak, crooked, dark, deserted, distant, dreary, enchanted, far, famous, frozen, gloomy, grassy,
haunted, hidden, lonely, misty, mossy, nameless, neglected, overgrown, peaceful, quiet, secret, shadowy,
silent, solitary, strange, sunlit, tangled, unknown, wild, windy, windswept
"""
PATHS = """
alley, avenue, bridle path, bridleway, byway, cart track, cobbled street, road, dyke, farm track, footpath,
forest path, gravel path, highway, hillside track, lane, muddy lane, drove road, pilgrim road, ridgeway,
rocky path, sandy track, sheep track, shore road, sunken lane, towpath, trail, valley road, winding path
"""
WARM_WEATHERS = """
balmy, breezy, bright, calm, clear, cloudless, dewy, dry, fair, fine, fragrant, gentle, glorious, golden,
hazy, hot, humid, mild, pleasant, soft, sultry, sunny, sweltering, thundery, warm
"""
COLD_WEATHERS = """
bitter, blustery, chilly, cloudy, cold, cool, crisp, damp, drizzly, foggy, freezing, fresh, frosty, grey,
gusty, icy, misty, murky, rainy, raw, showery, sleety, snowy, squally, stormy, wet, wild
"""
TIMES = "morning, afternoon, evening"
DAYS = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"
COLOURS = """
black, blue, brown, crimson, gold, green, grey, orange, pink, purple, red, silver, violet, white, yellow
"""
TRICKS = """
balance on a barrel, beg, bow, catch a ball, climb a ladder, count to four, dance, fetch the post, find
mushrooms, jump through a hoop, lie down, march, open doors, play dead, play the drum, pull a cart, ring a
bell, roll over, shake hands, sing, sit up, stand on its head, swim, wait, walk backwards, wink
"""
TOPICS = """
ancient kings, bad weather, comets, cousins, dragons, earthquakes, family matters, fishing, ghosts, giants,
jokes, knots, lost cities, marriage, mermaids, money, music, nothing at all, old battles, pirates, politics,
poetry, recipes, shipwrecks, taxes, the army, the best way to boil eggs, the moon, the price of wool, the
queen, the tides, toothache, weddings, wolves
"""
WARM_MONTHS = "April, May, June, July, August, September"
COLD_MONTHS = "January, February, March, October, November, December"
FEASTS = """
apple fair, barley feast, bonfire night, candle night, cheese fair, goose fair, harvest supper, hay feast,
horse fair, lantern feast, May dance, midsummer feast, midwinter feast, pancake day, sheep fair, spring
fair, wool fair
"""
TREES = """
alder, apple tree, ash, aspen, bay tree, beech, birch, blackthorn, cedar, cherry tree, chestnut tree, crab
apple tree, cypress, elder, elm, fig tree, fir, hawthorn, hazel, holly, hornbeam, juniper, larch, laurel,
lime tree, maple, medlar, mulberry tree, oak, olive tree, pear tree, pine, plane tree, plum tree, poplar,
quince tree, rowan, spruce, sycamore, walnut tree, willow, yew
"""
FLOWERS = """
anemone, aster, bluebell, buttercup, campion, carnation, chrysanthemum, columbine, cornflower, cowslip,
crocus, daffodil, dahlia, daisy, dandelion, foxglove, geranium, gladiolus, harebell, hollyhock, hyacinth,
iris, larkspur, lily, lupin, marigold, orchid, pansy, peony, petunia, poppy, primrose, rose, snapdragon,
snowdrop, sunflower, sweet pea, tulip, violet, wallflower, water lily, dog rose
"""
HERBS = """
basil, betony, borage, camomile, catnip, chervil, comfrey, coriander, dill, fennel, feverfew, heather,
hyssop, ivy, lavender, lovage, marjoram, meadowsweet, mint, mugwort, parsley, rosemary, rue, sage, sorrel,
tansy, tarragon, thyme, valerian, vervain, wild garlic, yarrow
"""

BIRD_LOOKS = """
black, blue, brave, brown, busy, clever, dainty, drab, drowsy, fat, furious, gaudy, golden, green, grey,
happy, idle, invisible, lame, large, lazy, little, lonely, lost, merry, noisy, old, orange, plump, proud,
purple, quiet, red, restless, rude, shiny, silvery, sleepy, solemn, speckled, spotted, striped, tame, tired,
tiny, unseen, weary, white, wild, yellow, young
"""
TREE_LOOKS = """
ancient, bare, bent, blossoming, broad, dark, dead, dripping, dusty, fallen, flowering, forked, gnarled,
hollow, leafless, leaning, mossy, old, rotten, rustling, shady, shapely, silvery, slender, snowy, spreading,
stunted, tall, twisted, weather-beaten, withered, young
"""
FLOWER_LOOKS = """
blue, bright, crimson, crushed, dewy, drooping, faded, fragrant, frail, fresh, golden, late, lavender-blue,
lilac, orange, pale, pink, purple, red, scarlet, single, sweet-smelling, tall, tiny, trampled, violet,
white, wild, wilting, yellow
"""
TREAT_LOOKS = """
bruised, burnt, buttery, cold, crisp, delicious, dried, enormous, fresh, frozen, giant, half-eaten, hard,
hot, juicy, large, mouldy, nibbled, overripe, pale, perfect, ripe, roasted, rosy, salted, shrivelled, small,
soft, sour, spicy, squashed, stale, sticky, sugared, sweet, tasty, warm, wrinkled
"""
FOOD_LOOKS = """
bitter, burnt, cheap, cold, delicious, excellent, famous, good, home-made, lukewarm, mysterious, nourishing,
old, peppery, plain, precious, rich, salty, scalding, simple, sour, spiced, stale, sticky, strong, sweet,
tepid, thick, thin, warm, watery, wholesome
"""

# --- Invented words: onset and vowel, and a coda to close them ----------------------------------------------

ONSETS = "b bl br c cr d dr f fl g gl gr h j k kl l m n p pr qu r s sh sk st t th tr v w y z"
VOWELS = "a e i o u"
CODAS = "ck d g k l ld lk ll lm m n nd ng nk nt p r rd rk rl rm rn rt s sk ss st t th x zz"

# --- Food ---------------------------------------------------------------------------------------------------

FOODS = """
bacon, barley bread, black pudding, bread, broth, butter, cabbage soup, carrot soup, cheese, cherry jam,
chicken soup, cider, cinnamon toast, boiled ham, cream, curds, custard, elderberry wine, fish stew, fresh
milk, fudge, ginger beer, gingerbread, goat cheese, gooseberry jam, gravy, honey, honeycomb, hot chocolate,
jelly, leek soup, lemonade, lentil stew, macaroni, marmalade, marzipan, mashed turnips, mushroom soup,
mustard, mutton stew, nettle tea, nougat, oatmeal, onion soup, pea soup, peppermint tea, pickled beetroot,
plum jam, porridge, potato soup, pumpkin soup, raspberry jam, rhubarb, rice pudding, roast goose, rye bread,
sauerkraut, sausage, smoked fish, spinach, syrup, toffee, treacle, trifle, walnut bread, whey, yoghurt
"""
TREATS = """
almond, apple, apricot, bean, biscuit, blackberry, boiled egg, bun, carrot, cherry, cinnamon roll, crumpet,
cucumber, currant bun, doughnut, dumpling, fig, gooseberry, grape, hazelnut, honey cake, lemon, loaf, meat
pie, melon, muffin, mushroom, nectarine, oatcake, onion, orange, pancake, parsnip, pastry, peach, peanut,
pear, pepper, pickle, plum, pomegranate, potato, pretzel, prune, pumpkin, quince, radish, raisin, raspberry,
roll, sandwich, scone, seed cake, strawberry, tart, tomato, turnip, waffle, walnut
"""
VESSELS = """
armful, bagful, barrel, basketful, bowlful, boxful, bucketful, cartload, crate, handful, hatful, heap,
jarful, pailful, plateful, pocketful, sackful, tinful
"""

# --- How people and things are ------------------------------------------------------------------------------

TRAITS = """
absent-minded, adventurous, bashful, blunt, bold, bookish, brave, bright-eyed, careful, cautious, charming,
cheeky, cheerful, clever, clumsy, courageous, curious, daring, dreamy, earnest, easy-going, energetic,
fearless, fidgety, forgetful, frank, friendly, fussy, generous, gentle, good-natured, hard-working, hasty,
headstrong, honest, hopeful, hot-tempered, humble, imaginative, impatient, inquisitive, inventive,
kind-hearted, lanky, lively, long-legged, loyal, merry, mischievous, modest, nimble, noisy, obstinate,
orderly, outspoken, patient, plucky, polite, proud, punctual, quick-witted, quiet, red-haired, reliable,
resourceful, restless, sensible, serious, shy, small, solemn, spirited, stubborn, studious, talkative, tall,
thoughtful, thrifty, tidy, truthful, unlucky, untidy, watchful, wilful, wise
"""
STRANGER_LOOKS = """
absurd, aged, bald, barefoot, bent, blind, bony, broad, crooked, dapper, elderly, elegant, freckled,
friendly, frowning, gaunt, grey-haired, grim, grumpy, haggard, handsome, hoarse, hunched, lame, large, lean,
limping, long-nosed, muddy, old, one-eyed, peculiar, plump, portly, queer, ragged, rosy, shabby, skinny,
sleepy, smiling, stern, stooping, stout, sunburnt, thin, tired, toothless, wandering, weary, weather-beaten,
whiskered, white-haired, wiry, wizened, young
"""
BEAST_LOOKS = """
bedraggled, big, black, bold, brindled, brown, chestnut, cunning, dappled, draggled, fat, fierce,
frightened, fuzzy, glossy, grey, handsome, hungry, injured, lame, large, lean, little, mangy, mottled,
nervous, old, orphaned, plump, pompous, proud, quick, ragged, russet, scruffy, shabby, shaggy, shivering,
shy, skinny, sleek, sleepy, sly, small, snow-white, soft-eyed, spotted, starving, stray, swift, talking,
tame, thin, thirsty, timid, tiny, trapped, ugly, very old, wet, wild, wounded, young
"""
GLAD = """
amused, astonished, blissful, calm, cheerful, comforted, content, delighted, ecstatic, elated, enchanted,
excited, glad, grateful, happy, hopeful, jolly, joyful, light-hearted, overjoyed, peaceful, pleased, proud,
radiant, relieved, satisfied, thankful, thrilled, triumphant, blessed, brave, carefree, charmed, cosy,
fortunate, lucky, merry, moved, reassured, refreshed, rested, rich, serene, tickled, touched, well pleased,
wide awake
"""
SAD = """
afraid, alarmed, angry, anxious, ashamed, bewildered, bitter, confused, cross, crushed, desperate,
disappointed, discouraged, dismayed, downcast, exhausted, fearful, foolish, forlorn, frightened, furious,
gloomy, guilty, heartbroken, helpless, homesick, hopeless, hurt, jealous, lonely, lost, miserable, mournful,
nervous, puzzled, restless, sad, shaken, sick, sorrowful, sorry, sulky, tearful, uneasy, unhappy, upset,
weary, worried, wretched, abandoned, annoyed, baffled, cheated, dejected, envious, forsaken, grumpy, hard
done by, impatient, indignant, insulted, lovesick, melancholy, offended, peevish, rejected, remorseful,
scared, shocked, sleepless, spiteful, suspicious, tired, troubled, unlucky, vexed, wistful, woebegone
"""
VIRTUES = """
ambition, bravery, candour, caution, charity, cleverness, common sense, courage, courtesy, cunning,
curiosity, determination, devotion, diligence, faith, forgiveness, fortune, friendship, gentleness, good
luck, good manners, gratitude, hard work, honesty, hope, humility, humour, imagination, justice, kindness,
loyalty, mercy, modesty, obedience, patience, peace, perseverance, pity, prudence, silence, sincerity,
strength, sympathy, tact, thrift, trust, truth, wisdom
"""
SPEECH_MANNERS = """
absently, angrily, anxiously, at last, awkwardly, bitterly, bluntly, boldly, breathlessly, briskly, calmly,
carelessly, cautiously, cheerfully, coldly, coolly, crossly, curtly, doubtfully, drily, eagerly, earnestly,
faintly, firmly, flatly, frankly, gently, gladly, gloomily, gravely, gruffly, happily, hastily, hoarsely,
hopefully, humbly, impatiently, in a low voice, kindly, lightly, loudly, meekly, merrily, mildly, modestly,
nervously, patiently, playfully, politely, proudly, quickly, quietly, sadly, seriously, sharply, shyly,
slowly, slyly, smoothly, softly, solemnly, sternly, stiffly, sweetly, tenderly, thoughtfully, timidly,
uncertainly, wearily, wisely, with a bow, with a cough, with a frown, with a grin, with a nod, with a shrug,
with a sigh, with a smile, with a wink, without a blush
"""
SPEECH_VERBS = """
announced, boasted, called, cried, croaked, declared, gasped, growled, grumbled, grunted, hummed, insisted,
laughed, murmured, mumbled, muttered, remarked, shouted, sighed, snapped, sniffed, snorted, squeaked,
stammered, wheezed, whispered, yawned, breathed, chirped, chuckled, crooned, giggled, groaned, lisped,
mused, observed, panted, piped, purred, sang, sobbed, spluttered
"""
MOTIONS = """
ambled, bounded, crept, danced, dashed, galloped, hastened, hiked, hobbled, hopped, hurried, jogged, limped,
marched, paced, plodded, raced, ran, rambled, roamed, rushed, sauntered, scampered, scrambled, scurried,
shuffled, skipped, sprinted, staggered, strode, strolled, stumbled, tiptoed, tramped, travelled, trotted,
trudged, waded, walked, wandered, went
"""
MOTION_MANNERS = """
alone, barefoot, blindly, bravely, busily, contentedly, counting the steps, crossly, deep in thought,
doggedly, dreamily, empty-handed, faithfully, grimly, half asleep, head down, hopefully, humming a tune,
hungrily, in silence, jauntily, lost in thought, merrily, miles from anywhere, mournfully, noiselessly, on
and on, patiently, resolutely, shivering a little, silently, singing, sleepily, steadily, stoutly, sweating,
thirstily, tirelessly, unwillingly, warily, whistling, with a stick in one hand, with aching feet, with many
sighs, without a map, without a rest, yawning
"""
CHORES = """
aired the blankets, baked the bread, beat the carpets, bottled the plums, carried water, chopped firewood,
churned the butter, cleaned the windows, combed the wool, copied letters, counted the sheep, cut the hedge,
darned socks, dug the garden, dusted the shelves, emptied the ashes, fed the chickens, fetched the milk,
filled the lamps, gathered eggs, ground the corn, herded the goats, hoed the beans, hung out the washing,
ironed shirts, kneaded the dough, lit the fires, made jam, mended nets, milked the cows, minded the baby,
mixed the paint, mowed the grass, oiled the hinges, painted the fence, peeled potatoes, picked apples,
pickled onions, planted cabbages, plucked geese, polished the boots, pruned the vines, raked leaves, rang
the bell, rolled out pastry, sawed planks, scoured the pans, scrubbed the floor, set the table, sewed on
buttons, sharpened knives, sheared the sheep, shelled peas, shovelled snow, sieved the flour, sorted beans,
sowed turnips, spun flax, stacked the logs, stirred the soup, stuffed pillows, swept the yard, tended the
fire, thatched the roof, trimmed the candles, turned the hay, tuned the piano, washed the dishes, watered
the lettuces, weeded the carrots, whitewashed the walls, wove baskets, wrapped parcels
"""
BEAST_PLIGHTS = """
caught in a bramble, caught in a snare, covered in burrs, hanging by one foot from a fence, lost and far
from its burrow, pinned under a fallen branch, shaking with cold, shut in a crate, sitting alone in the
rain, stuck in a drainpipe, stuck in the mud, tangled in a net, tangled in an old rope, tied to a post,
trapped in a ditch, unable to climb out of a pit, with a bee sting on its nose, with a fish bone in its
throat, with a splinter in its foot, with a thorn in its paw, with its foot in a trap
"""
SOUNDS = """
bang, bark, bleat, bump, chime, clang, clatter, click, cough, crack, crash, creak, croak, drip, groan,
growl, hiss, hoot, howl, hum, jingle, knock, moan, murmur, patter, rattle, ring, roar, rumble, rustle,
scrape, scratching, shriek, shuffle, sigh, sneeze, snore, splash, squeak, thud, thump, tinkle, whimper,
whine, yelp
"""
WIND_DEEDS = """
battered at the door, blew the hats off the scarecrows, chased leaves over the grass, cried in the chimney,
flattened the barley, flung hail at the windows, hummed in the gate, lifted the slates, moaned in the eaves,
pulled at the washing, raced across the fields, ripped the petals from the roses, roared in the elms, rocked
the boats, rustled the ivy, scattered the hay, shook the branches, sighed in the reeds, snuffed out the
lamps, swung the inn sign, tugged at every sleeve, turned the weathervane, whirled the dust about, whispered
in the grass, whistled under the door, wrinkled the pond
"""
TENS = "twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety"
UNITS = "one, two, three, four, five, six, seven, eight, nine"
NUMBERS = "two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen"
JOINTS = "ankle, elbow, finger, foot, knee, shoulder, thumb, wrist"
HOURS = "breakfast, dark, daybreak, midday, midnight, nightfall, noon, sunrise, sunset, supper, tea-time"
BODY_PARTS = """
ankle, arm, back, cheek, chin, ear, elbow, eyebrow, forehead, head, knee, neck, nose, shoulder, thumb, wrist
"""
JEWELS = "amethyst, diamond, emerald, agate, garnet, opal, pearl, ruby, sapphire, topaz"
WISHES = """
a bed of feathers, a cottage with a blue door, a field of clover, a garden with a high wall, a ship with
three masts, a shop in the square, a song that nobody knew, a voyage to the islands, an answer to every
question, fame in seven counties, new boots, nothing but a little quiet, snow at midsummer, someone to talk
to, the best seat by the fire, the biggest kite in the valley, the wings of a gull, to be a head taller, to
be left in peace, to be warm in winter, to dance at a royal ball, to grow the largest marrow in the county,
to learn the names of the stars, to play the organ, to read every book in the world, to ride an elephant, to
sail round the world, to see the sea, to sleep until noon, to speak with the birds
"""

RIDDLES = """
What has teeth but never bites?=a comb
What has hands but cannot clap?=a clock
What grows wetter the more it dries?=a towel
What runs all day and never leaves its bed?=a river
What has one eye and cannot see?=a needle
What goes up when the rain comes down?=an umbrella
What can fill a room and takes up no space?=light
What is broken as soon as you say its name?=silence
What has a neck and no head?=a bottle
What grows shorter the longer it stands?=a candle
What flies without wings?=time
What has leaves and is not a tree?=a book
What follows you all day and leaves you at night?=your shadow
What can you catch and never throw?=a cold
What belongs to you, and others use it more?=your name
What has a bed and never sleeps?=a stream
What has a tongue and cannot speak?=a shoe
What must you give before you can keep it?=your word
What is full of holes and still holds water?=a sponge
What has roots that nobody sees, and is taller than trees?=a mountain
What gets bigger the more you take from it?=a hole
What is always coming and never arrives?=tomorrow
What travels the world and stays in one corner?=a stamp
What goes through the door and never comes in?=a keyhole
What has ears and hears nothing?=a field of corn
What falls and never gets hurt?=snow
What has four legs in the day and six at night?=a bed
What eats and eats, and dies when it drinks?=fire
What is lighter than a feather, though no giant can hold it long?=breath
What has cities without houses and rivers without water?=a map
"""

# --- Forms --------------------------------------------------------------------------------------------------

_PLURALS = {
    "ash": "ashes",
    "calf": "calves",
    "deer": "deer",
    "dormouse": "dormice",
    "field mouse": "field mice",
    "goose": "geese",
    "snow goose": "snow geese",
    "loaf": "loaves",
    "ox": "oxen",
    "sheep": "sheep",
    "wolf": "wolves",
    "grouse": "grouse",
    "gladiolus": "gladioli",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mosquito": "mosquitoes",
    "thrush": "thrushes",
    "scarf": "scarves",
    "radish": "radishes",
}
_AN_BEFORE = ("hon", "hour", "heir")
_A_BEFORE = ("one-", "once", "eu", "ewe", "uni", "use")


def with_article(phrase: str) -> str:
    """A phrase with the indefinite article that its sound asks for.

    >>> with_article("honest owl"), with_article("unicorn")
    ('an honest owl', 'a unicorn')
    """
    vowel = phrase[0].lower() in "aeiou" and not phrase.startswith(_A_BEFORE)
    honest = phrase.startswith(_AN_BEFORE) and not phrase.startswith("honey")
    return f"an {phrase}" if vowel or honest else f"a {phrase}"


def plural(noun: str) -> str:
    """The plural of a noun.

    >>> plural("goose"), plural("cherry"), plural("lump of coal")
    ('geese', 'cherries', 'lumps of coal')
    """
    head, of, rest = noun.partition(" of ")
    if of:
        return plural(head) + of + rest
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun[-1] == "y" and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def _title(phrase: str) -> str:
    small = {"of", "in", "the", "a"}
    return " ".join(word if word in small else word[:1].upper() + word[1:] for word in phrase.split())


def _split(words: str) -> list[str]:
    """The phrases of a list: parted by commas, or by blanks where there are no commas."""
    return [" ".join(word.split()) for word in (words.split(",") if "," in words else words.split())]


def _phrases(words: str) -> list[Entry]:
    return [{"": word, "Cap": word[0].upper() + word[1:]} for word in _split(words)]


def _with_articles(phrase: str) -> Entry:
    phrase = with_article(phrase)
    return {"a": phrase, "A": phrase[0].upper() + phrase[1:]}


def _adjectives(words: str) -> list[Entry]:
    return [{"": w, **_with_articles(w), "Title": _title(w)} for w in _split(words)]


def _nouns(words: str) -> list[Entry]:
    return [{"": w, **_with_articles(w), "s": plural(w), "Title": _title(w)} for w in _split(words)]


_SHE = {"he": "she", "He": "She", "him": "her", "his": "her", "His": "Her", "himself": "herself"}
_HE = {"he": "he", "He": "He", "him": "him", "his": "his", "His": "His", "himself": "himself"}
_IT = {"he": "it", "He": "It", "him": "it", "his": "its", "His": "Its", "himself": "itself"}


def _persons(women: str, men: str) -> list[Entry]:
    """Named persons: "the" is how the story refers to them, "" the bare word."""

    def person(name: str, forms: Entry, child: str, sir: str) -> Entry:
        return {"": name, "the": name, "The": name, "child": child, "sir": sir, **forms}

    girls = [person(name, _SHE, "girl", "my girl") for name in _split(women)]
    return girls + [person(name, _HE, "boy", "my boy") for name in _split(men)]


def _characters(words: str, forms: Entry) -> list[Entry]:
    """Characters without a name, such as "the ferryman"."""
    return [
        {"": w, "a": with_article(w), "the": f"the {w}", "The": f"The {w}", "Title": _title(w), **forms}
        for w in _split(words)
    ]


def _kin(words: str, forms: Entry) -> list[Entry]:
    """Relatives: the hero's own word for them serves as their name."""
    return [
        {"": w, "the": _title(w.replace("-", " ")), "The": _title(w.replace("-", " ")), **forms}
        for w in _split(words)
    ]


def _villages() -> list[Entry]:
    """All the village names that are not hard to read, such as Stonemere but not Stoneness."""
    pairs = product(_split(VILLAGE_STARTS), _split(VILLAGE_ENDS))
    return [{"": start + end} for start, end in pairs if start[-1] != end[0] and start.lower() != end]


def _riddles() -> list[Entry]:
    pairs = (line.split("=") for line in RIDDLES.strip().splitlines())
    return [
        {"": question, "answer": answer, "Answer": answer[0].upper() + answer[1:]} for question, answer in pairs
    ]


def kinds() -> dict[str, list[Entry]]:
    """The kinds of words that the grammar of the tales names, by their names there."""
    return {
        "hero_name": _persons(HERO_GIRLS, HERO_BOYS),
        "friend_name": _persons(FRIEND_GIRLS, FRIEND_BOYS),
        "village": _villages(),
        "stranger_kind": _characters(STRANGER_MEN, _HE) + _characters(STRANGER_WOMEN, _SHE),
        "kin_kind": _kin(KIN_WOMEN, _SHE) + _kin(KIN_MEN, _HE),
        "beast_kind": _characters(BEASTS, _IT),
        "thief_kind": _characters(THIEVES, _IT),
        "riddle_kind": _riddles(),
        "chores": _phrases(CHORES)[::2],
        "syllable": _phrases(",".join(onset + vowel for onset, vowel in product(_split(ONSETS), _split(VOWELS)))),
        "coda": _phrases(",".join(_split(CODAS))),
        "old_names": _phrases(FRIEND_GIRLS + FRIEND_BOYS),
        "high_numbers": _phrases(",".join(f"{ten}-{unit}" for ten, unit in product(_split(TENS), _split(UNITS)))),
        "more_chores": _phrases(CHORES)[1::2],
        **_each(_nouns, _NOUN_KINDS),
        **_each(_adjectives, _ADJECTIVE_KINDS),
        **_each(_phrases, _PHRASE_KINDS),
    }


def _each(forms: Callable[[str], list[Entry]], lists: str) -> dict[str, list[Entry]]:
    """Kinds from the word lists of this module, each named like its list in lower case."""
    return {name.lower(): forms(globals()[name]) for name in lists.split()}


_NOUN_KINDS = """
TRADES BIRDS FARM_BEASTS SMALL_BEASTS FISH METAL_THINGS WOODEN_THINGS CLOTH_THINGS GLASS_THINGS PAPER_THINGS
TRINKETS FURNITURE INSIDE_PLACES NEAR_PLACES TOP_PLACES PATHS TREES FLOWERS HERBS TREATS VESSELS SOUNDS
BODY_PARTS JEWELS FEASTS
"""
_ADJECTIVE_KINDS = """
METAL_LOOKS WOODEN_LOOKS CLOTH_LOOKS GLASS_LOOKS PAPER_LOOKS PLACE_LOOKS WARM_WEATHERS COLD_WEATHERS TRAITS
STRANGER_LOOKS BEAST_LOOKS GLAD SAD BIRD_LOOKS TREE_LOOKS FLOWER_LOOKS TREAT_LOOKS FOOD_LOOKS
"""
_PHRASE_KINDS = """
TIMES HOURS JOINTS DAYS COLOURS TRICKS TOPICS WARM_MONTHS COLD_MONTHS FOODS VIRTUES SPEECH_MANNERS
SPEECH_VERBS MOTIONS MOTION_MANNERS BEAST_PLIGHTS MAGICS WIND_DEEDS NUMBERS WISHES
"""
