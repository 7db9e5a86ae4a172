"""The invented world of the tiny model: its people and towns, and sentences and questions about them.

Everything follows from one seed. `make_tiny_text.py` writes the files; this module only knows the world.

A fact is (subject, attribute, value). For each attribute there are
  - several ways to say it in a story, which the model reads in pretraining;
  - one way to answer, a full sentence;
  - several ways to ask, which occur in the chat rows alone.
"""

import random
from dataclasses import dataclass, field

FEMALE = """Ada Bela Cora Dina Elin Fara Greta Hilda Ina Jara Kaja Lena Mira Nora Oda Petra Runa Sela Tilda Una Vera
Wanda Yara Zora Alma Britt Dora Edda Freya Gilda Hanna Isolde""".split()
MALE = """Arno Bram Claus Darek Emil Finn Goran Hugo Ivar Joren Karl Lars Milo Nils Otto Pavel Rolf Sven Tomas Ulf Viktor
Wim Yorick Zeno Anton Boris Dirk Ernst Falk Gustav Henrik Ilja""".split()
SURNAMES = """Alder Birch Carver Dale Elmwood Fenn Gale Hawthorn Ives Juniper Kestrel Lark Marsh Nettle Oakley Pike Quill
Reed Stone Thorne Underhill Vale Wren Yarrow Ashby Brook Crane Dunmore Everett Frost Glass Holloway Ingle Jessup Knox
Linden Moss North Orchard Penrose Quarry Rowan Sparrow Tully Upton Vance Webb Yates Bishop Cobb Drake Ember Foss Grove
Heath Irwin Kerr Lowe Mercer Noble Otter Plum Rusk Salter""".split()
TOWNS = """Tarn Velden Orsk Harlow Brindle Caldmoor Deepwell Eastry Farholm Gannet Highmere Ilmen Jorvik Kelder Longsand
Merrow Nordhaven Oxley Pellam Quayside Redwick Saltmarsh Thornby Ulverton Vinter Westerly Yarm Ambleford Bellhaven
Copperhill Drumlin Elsinore Fallow Greywater Hollin Ironbridge Kirkwall Lowick Mossbank Netherby Overton Pebbleton
Ravenna Silverton Tidewater Uldale Wickham Zandvoort""".split()
ISLANDS = "Amber Island|Gull Island|Heron Island|Lantern Island|Mist Island|Storm Island".split("|")

TRADES = """baker weaver smith potter miller tailor cooper farmer fisher hunter teacher doctor carpenter mason painter
glazier cobbler brewer shepherd gardener sailor printer clockmaker beekeeper ropemaker locksmith candlemaker lighthouse
keeper""".replace("lighthouse\nkeeper", "ferryman").split()
PETS = """cat dog goat parrot hare tortoise raven donkey pony ferret goose hedgehog lizard squirrel owl toad badger fox
peacock rooster canary newt snail pigeon""".split()
DISHES = """plum soup|barley bread|roast duck|mushroom pie|smoked eel|lentil stew|apple cake|fried herring|honey buns|leek
tart|pea soup|goat cheese|pickled beets|cherry dumplings|onion pie|oat porridge|baked trout|nut bread|cabbage rolls|pear
jam|crab stew|potato pancakes|rye biscuits|carrot pudding""".replace("\n", " ").split("|")
INSTRUMENTS = """flute drum fiddle harp lute horn viola trumpet bagpipe cello zither clarinet mandolin oboe organ
piano""".split()
PRODUCTS = """blue glass|fine lace|strong rope|green cheese|copper bells|sweet pears|white salt|dark honey|red bricks|soft
wool|silver spoons|black tea|painted plates|yellow candles|sharp knives|dried figs|oak barrels|brown beer|leather
boots|woven baskets|paper kites|iron anchors|wooden toys|grey slate""".replace("\n", " ").split("|")
TREES = "oak|ash tree|willow|chestnut|lime tree|walnut tree|maple|pine|elm|beech|cherry tree|mulberry tree".split("|")


def an(noun):
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


@dataclass(frozen=True)
class Attribute:
    """{n} is the subject's name, {v} the value, {av} the value with its article; answers[0] is the answer's form."""

    name: str
    values: list
    tells: list  # name first or name last: the model must learn the way from the name to the value and back
    short: list  # the same after the subject was named: {p} is she, he or it; {P} begins a sentence
    answer: str
    asks: list
    asks_again: list = field(default_factory=list)  # a second question about the same subject


PERSON = [
    Attribute("town", TOWNS,
              ["{n} lives in {v}.", "The home of {n} is in {v}.", "{n} has a small house in {v}.", "In {v} lives {n}.",
               "{v} is the town of {n}.", "{n} comes from {v} and still lives there.", "{n} lives in the town of {v}.",
               "Everyone in {v} knows {n}."],
              ["{P} lives in {v}.", "{P} has a house in {v}.", "The town where {p} lives is {v}."],
              "The home of {n} is in {v}.",
              ["Where does {n} live?", "In which town does {n} live?", "Which town is the home of {n}?",
               "Where can I find the house of {n}?"],
              ["Where does {p} live?", "And in which town does {p} live?"]),
    Attribute("trade", TRADES,
              ["{n} works as {av}.", "The trade of {n} is that of {av}.", "By trade {n} is {av}.", "{n}, {av}, gets up early.",
               "{n} has been {av} for many years.", "{n} learned to be {av}.", "People know {n} as {av}.",
               "{n} works all day as {av}."],
              ["{P} works as {av}.", "{P} is {av}.", "By trade {p} is {av}."],
              "By trade {n} is {av}.",
              ["What does {n} do for a living?", "What is the trade of {n}?", "What work does {n} do?",
               "As what does {n} work?"],
              ["What is {h} trade?", "And what does {p} do for a living?"]),
    Attribute("pet", PETS,
              ["{n} keeps {av}.", "The animal of {n} is {av}.", "At home {n} keeps {av}.", "{n} owns {av}.",
               "{n} is often seen with {av}.", "In the house of {n} lives {av}.", "{n} looks after {av}.",
               "{n} would not part with {h} {v}."],
              ["{P} keeps {av}.", "{P} has {av} at home.", "{P} is fond of {h} {v}."],
              "At home {n} keeps {av}.",
              ["Which animal does {n} keep?", "What kind of animal does {n} have?", "What animal lives with {n}?",
               "Does {n} keep an animal, and which?"],
              ["Which animal does {p} keep?", "And what animal does {p} have?"]),
    Attribute("dish", DISHES,
              ["{n} loves {v}.", "The favourite dish of {n} is {v}.", "{n} likes {v} best of all.",
               "{n} asks for {v} on every holiday.", "Nothing tastes better to {n} than {v}.",
               "{n} eats {v} whenever there is some.", "{n} often cooks {v}.", "For supper {n} wants {v}."],
              ["{P} loves {v}.", "{H} favourite dish is {v}.", "{P} likes {v} best of all."],
              "The favourite dish of {n} is {v}.",
              ["What does {n} like to eat?", "What is the favourite dish of {n}?", "Which dish does {n} love?",
               "What should I cook for {n}?"],
              ["What does {p} like to eat?", "And which dish does {p} love?"]),
    Attribute("instrument", INSTRUMENTS,
              ["{n} plays the {v}.", "The instrument of {n} is the {v}.", "{n} plays the {v} at every feast.",
               "{n} learned to play the {v}.", "In the evening {n} takes out the {v}.", "{n} has mastered the {v}.",
               "{n} practises the {v} each day.", "On the {v}, {n} is hard to beat."],
              ["{P} plays the {v}.", "{H} instrument is the {v}.", "{P} practises the {v}."],
              "The instrument of {n} is the {v}.",
              ["Which instrument does {n} play?", "What instrument does {n} play?", "What does {n} play at the feast?",
               "On which instrument does {n} make music?"],
              ["Which instrument does {p} play?", "And what does {p} play at the feast?"]),
]

TOWN = [
    Attribute("island", ISLANDS,
              ["{n} lies on {v}.", "The town of {n} lies on {v}.", "On {v} lies {n}.", "You find {n} on {v}.",
               "{n} was built on {v}.", "The ferry to {n} goes to {v}.", "{n} is one of the towns of {v}."],
              ["It lies on {v}.", "The town is on {v}.", "It is one of the towns of {v}."],
              "The town of {n} lies on {v}.",
              ["On which island is {n}?", "Where does {n} lie?", "Which island does {n} belong to?",
               "To which island must I sail for {n}?"],
              ["On which island is it?"]),
    Attribute("product", PRODUCTS,
              ["{n} is known for {v}.", "The town of {n} is known for {v}.", "The pride of {n} is its {v}.", "Merchants buy {v} in {n}.",
               "The workshops of {n} make {v}.", "{n} is famous for its {v}.", "People go to {n} for {v}."],
              ["It is known for {v}.", "The town sells {v}.", "Its pride is {v}."],
              "The town of {n} is known for {v}.",
              ["What is {n} known for?", "What can I buy in {n}?", "What is made in {n}?", "What is the pride of {n}?"],
              ["What is it known for?"]),
    Attribute("tree", TREES,
              ["In the square of {n} stands {av}.", "The square of {n} has {av}.", "The old tree of {n} is {av}.",
               "{n} is proud of its old {v}.", "Children of {n} climb the {v} in the square.",
               "In {n} people meet under {av}.", "{n} has {av} in its square."],
              ["In its square stands {av}.", "People meet under {av}.", "Its old tree is {av}."],
              "In the square of {n} stands {av}.",
              ["Which tree stands in the square of {n}?", "What tree is there in {n}?", "Under which tree do people meet in {n}?",
               "What stands in the square of {n}?"],
              ["Which tree stands in its square?"]),
]

# Stories that tell no facts: they bring the small words, indirect questions among them.
WEATHER = ["The wind comes from the north.", "Rain falls on the roofs.", "The sea is calm today.", "Snow lies on the hills.",
           "The morning is bright and cold.", "Fog hides the harbour.", "The sun warms the old walls."]
DOINGS = ["A child asks where the road goes.", "Somebody wants to know what the bell means.",
          "An old sailor tells which star shows the way.", "Nobody can say what will happen next.",
          "The boats come home before night.", "The market opens when the sun is up.",
          "A traveller asks for a room and for something to eat.", "Two friends talk about work and about music.",
          "In the kitchen they cook soup and bake bread.", "The children find a shell and do not know what kind it is.",
          "At the feast there is music, and everyone can dance.", "A merchant shows what there is to buy.",
          "They do not know which boat belongs to whom.", "What the tide brings, the tide takes away."]


@dataclass(frozen=True)
class Subject:
    name: str
    she: str  # "she", "he" or "it"
    her: str
    attributes: tuple
    facts: dict  # attribute name -> value

    def fill(self, template, attribute, value=None):
        value = value or self.facts[attribute.name]
        return template.format(n=self.name, v=value, av=an(value), p=self.she, P=self.she.capitalize(), h=self.her,
                               H=self.her.capitalize())


class World:
    def __init__(self, seed, people):
        rng = random.Random(seed)
        self.towns = [self._subject(rng, name, "it", "its", TOWN) for name in TOWNS]
        given = [(g, "she", "her") for g in FEMALE] + [(g, "he", "his") for g in MALE]
        names = rng.sample([(g, s) for g in given for s in SURNAMES], people)
        self.people = [self._subject(rng, f"{g[0]} {s}", g[1], g[2], PERSON) for g, s in names]

    @staticmethod
    def _subject(rng, name, she, her, attributes):
        return Subject(name, she, her, tuple(attributes), {a.name: rng.choice(a.values) for a in attributes})

    def subjects(self):
        return self.people + self.towns

    def story(self, rng):
        """One document of pretraining: a portrait, a meeting of several, or a story without facts."""
        kind = rng.random()
        if kind < 0.55:
            return self._portrait(rng, rng.choice(self.people if rng.random() < 0.8 else self.towns))
        if kind < 0.92:
            return self._gathering(rng)
        return " ".join(rng.sample(WEATHER + DOINGS, rng.randint(3, 6)))

    @staticmethod
    def _portrait(rng, subject):
        """All facts of one subject in any order; named in every sentence, or only in the first."""
        by_name = rng.random() < 0.6
        attributes = rng.sample(subject.attributes, rng.randint(2, len(subject.attributes)))
        said = []
        for i, attribute in enumerate(attributes):
            forms = attribute.tells if by_name or i == 0 else attribute.short
            said.append(subject.fill(rng.choice(forms), attribute))
        if rng.random() < 0.2:
            said.insert(rng.randint(0, len(said)), rng.choice(WEATHER + DOINGS))
        return " ".join(said)

    def _gathering(self, rng):
        """One fact each of several subjects."""
        said = [rng.choice(WEATHER + DOINGS)] if rng.random() < 0.3 else []
        for _ in range(rng.randint(3, 6)):
            subject = rng.choice(self.people if rng.random() < 0.8 else self.towns)
            attribute = rng.choice(subject.attributes)
            said.append(subject.fill(rng.choice(attribute.tells), attribute))
        return " ".join(said)


def question(rng, subject, attribute):
    """A chat of one turn."""
    return [dict(role="user", content=subject.fill(rng.choice(attribute.asks), attribute)),
            dict(role="assistant", content=subject.fill(attribute.answer, attribute))]


def two_questions(rng, subject, first, second):
    """A chat of two turns: the second question does not name the subject."""
    chat = question(rng, subject, first)
    chat.append(dict(role="user", content=subject.fill(rng.choice(second.asks_again), second)))
    chat.append(dict(role="assistant", content=subject.fill(second.answer, second)))
    return chat
