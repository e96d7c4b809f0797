"""The people and groups of the demo's imaginary company. Data only."""

from collections.abc import Callable
from dataclasses import dataclass

DOMAIN = "contoso.example"

_PEOPLE = """
Nora Berg, Sales
Omar Farouk, Sales
Paula Quintero, Sales
Quentin Roux, Sales
Rosa Silva, Sales
Sven Torvald, Sales
Tove Ullman, Sales
Uma Varma, Sales
Viktor Weiss, Support
Wanda Xu, Support
Xavier Young, Support
Yara Zidan, Support
Zoë Adler, Support
Anton Brandt, Support
Bea Castillo, Support
Carl Dietrich, Support
Dana Eklund, Managers
Emil Fischer, Managers
Freya Grant, Managers
Gustav Holm, Managers
"""


@dataclass(frozen=True, slots=True)
class Person:
    """`subject` is the externalId at the identity provider and the key of the person's sessions in the CRM."""

    subject: str
    given: str
    family: str
    department: str

    @property
    def display_name(self) -> str:
        """As the CRM greets them."""
        return f"{self.given} {self.family}"

    @property
    def user_name(self) -> str:
        """What they log in with."""
        return f"{self.given}.{self.family}@{DOMAIN}".lower().replace("ë", "e")


def people(new_id: Callable[[], str]) -> list[Person]:
    """The twenty, with fresh subjects, so that nothing of an earlier demo in the same Redis applies to them."""
    lines = (line.replace(",", "").split() for line in _PEOPLE.strip().splitlines())
    return [Person(new_id(), given, family, department) for given, family, department in lines]


def departments(staff: list[Person]) -> dict[str, list[Person]]:
    """The three groups, by name."""
    groups: dict[str, list[Person]] = {}
    for person in staff:
        groups.setdefault(f"CRM {person.department}", []).append(person)
    return groups
