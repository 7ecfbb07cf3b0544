"""Invented people and places: building blocks from which each seed draws its own names."""


def _words(block: str) -> tuple[str, ...]:
    return tuple(block.split())


WOMEN = _words(
    """
    Ada Agnes Alma Anneke Astrid Beata Bettina Brigid Carmen Clara Cora Dagny Delia Dora Edith Elin Elspeth Enid
    Esther Etta Fenna Flora Freda Gerda Greta Hanna Hedda Helga Hester Ida Ilsa Imogen Inga Irene Ivy Jana Joan
    Judith Karin Klara Laura Lena Liv Lotte Lucia Lydia Mabel Magda Maren Marta Matilda Minna Mira Nadia Nell Nora
    Olga Olive Petra Philippa Rada Renata Rosa Ruth Sabine Selma Signe Sonja Stella Tabitha Tamsin Thea Tilda Ulla
    Una Vera Viola Wanda Wilma Winifred Ysolde Zelda
    """
)

MEN = _words(
    """
    Abel Adrian Alban Anselm Anton Arne Arvid Axel Basil Bruno Caspar Cedric Clement Conrad Cyril Dirk Duncan Edgar
    Edmund Egon Emil Erik Ernst Felix Ferdinand Finn Florian Frans Gideon Gregor Gustav Hakon Hamish Hector Henrik
    Hugo Igor Isak Ivor Jasper Jonas Josef Julian Karel Kasper Klaus Lars Leopold Linus Lorenz Ludwig Magnus Marius
    Milo Mortimer Nils Oskar Otto Pavel Percival Quentin Ralf Reinhold Roland Rufus Rupert Sigurd Silas Simon Stefan
    Tobias Ulrich Valentin Viktor Walter Wendel Wilfred Yorick Zachary
    """
)

SURNAME_STARTS = _words(
    """
    Ald Alm Arden Ash Bar Bell Berg Bir Black Bram Bright Brook Carr Clay Copp Corn Crane Dale Dun Eden Elder Fal
    Fen Fern Finch Flint Gar Gold Grim Hal Hart Hazel Heath Hol Horn Kel Kest Kirk Lark Lin Loch Mar Mead Mill Moor
    Nor Oak Orm Pel Penn Quill Rad Raven Red Ros Row Sand Sel Sil Stan Stone Tarn Thorn Til Under Val Vos Wal Wend
    West Whit Wil Win Wol Yar
    """
)

SURNAME_ENDS = _words(
    """
    bury by cott croft den dorf er feld field ford gate grave ham hart horst house hurst land ley low man mark mere
    mont more ner ning quist rick ridge rup sen shaw son stad sten ston strom thorpe ton tree vale wald ward way
    well wick win wood worth
    """
)

TOWN_STARTS = _words(
    """
    Amble Ans Bals Ber Bir Bol Bran Bren Calder Cam Cor Dan Del Dor Drum Eas El Ems Eral Fal Far Glen Gris Hal Har
    Hav Hol Ing Isk Kal Kar Kel Kin Lam Lang Lim Lor Lun Mal Mar Mel Mor Nar Nes Nor Ol Or Ost Pel Por Quar Ras Ren
    Rin Ros Sal Sar Sel Sol Stav Sul Tal Tar Tel Tor Ul Ur Val Var Vel Ven Vil Wes Wil Yar Zel
    """
)

TOWN_ENDS = _words(
    """
    aby ach adorf afen aldby alen ampton andby arden ardy arn aster atham aven berg bourne brook burg by combe cross
    dale den don dorf eby elby elham ensee erby erfield erford ergate ermouth erness erstad erwick esby haven holm
    ingen ington kirk la lund minster mouth nau nick ora ova port sand sele stad stead sund thal thwaite tor vik
    ville wall wich
    """
)


def joined(start: str, end: str) -> str:
    """Both parts as one name, without a letter three times in a row."""
    return start + (end[1:] if start[-2:] == end[0] * 2 else end)
