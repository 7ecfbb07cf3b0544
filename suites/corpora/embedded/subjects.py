"""What the embedded articles are about: names and kinds of structures, societies and crafts."""

STRUCTURE_KINDS = (
    "Bridge",
    "Windmill",
    "Lighthouse",
    "Water Tower",
    "Granary",
    "Gatehouse",
    "Viaduct",
    "Bell Tower",
    "Canal Lock",
    "Watermill",
    "Pump House",
    "Aqueduct",
)

SOCIETY_KINDS = (
    "Guild of Ropemakers",
    "Society for the Study of Moss",
    "Choir of Night Watchmen",
    "Academy of Clocks",
    "Brotherhood of Ferrymen",
    "School of Glass Engraving",
    "Club of Amateur Astronomers",
    "Guild of Umbrella Makers",
    "Reading Society",
    "Company of Salt Carriers",
    "Institute of Applied Arithmetic",
    "League of Beekeepers",
    "Guild of Puppet Carvers",
    "Volunteer Fire Company",
)

CRAFT_KINDS = (
    ("bellows pipe", "wind instrument"),
    ("marrow harp", "stringed instrument"),
    ("smoked cheese", "cheese"),
    ("table game", "board game"),
    ("night lamp", "lamp"),
    ("travelling basket", "basket"),
    ("harvest mask", "mask"),
    ("river kite", "kite"),
    ("folding chair", "chair"),
    ("wax doll", "doll"),
    ("thumb drum", "drum"),
    ("winter quilt", "quilt"),
    ("spiced loaf", "loaf"),
    ("pocket loom", "loom"),
    ("whistling kettle", "kettle"),
    ("shepherd's knife", "knife"),
)
