"""The schemas and resource types of RFC 7643 §4, §4.3 and §8.7 as data: User, Group, enterprise extension.

Holds no behaviour. Where the RFC's prose and its JSON disagree the prose wins (a Group's displayName is
required). Canonical values are published because Entra derives its mappings from them; they are never enforced.
"""

from scim_server.protocol.attributes import Attribute, ResourceType, Schema

USER_URN = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_URN = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def _plural(
    name: str,
    what: str,
    *,
    value: Attribute,
    types: tuple[str, ...] = (),
    description: str = "",
) -> Attribute:
    """A multi-valued attribute with the default sub-attributes of RFC 7643 §2.4."""
    return Attribute(
        name,
        "complex",
        multi_valued=True,
        description=description or f"{what[0].upper()}{what[1:]}s of the user.",
        sub_attributes=(
            value,
            Attribute("display", description="Name to show instead of the value."),
            Attribute("type", description=f"What the {what} is for.", canonical_values=types),
            Attribute("primary", "boolean", description=f"The preferred {what}; true at most once."),
        ),
    )


_NAME = Attribute(
    "name",
    "complex",
    description="The parts of the user's name.",
    sub_attributes=(
        Attribute("formatted", description="The full name, ready to display."),
        Attribute("familyName", description="Family name."),
        Attribute("givenName", description="Given name."),
        Attribute("middleName", description="Middle names."),
        Attribute("honorificPrefix", description="Title before the name."),
        Attribute("honorificSuffix", description="Suffix after the name."),
    ),
)

_ADDRESSES = Attribute(
    "addresses",
    "complex",
    multi_valued=True,
    description="Postal addresses of the user.",
    sub_attributes=(
        Attribute("formatted", description="The full address, ready to display."),
        Attribute("streetAddress", description="Street, house number, post-office box."),
        Attribute("locality", description="City or place."),
        Attribute("region", description="State or region."),
        Attribute("postalCode", description="Postal code."),
        Attribute("country", description="Country, as an ISO 3166-1 alpha-2 code."),
        Attribute("type", description="What the address is for.", canonical_values=("work", "home", "other")),
        Attribute("primary", "boolean", description="The preferred address; true at most once."),
    ),
)

_GROUPS = Attribute(
    "groups",
    "complex",
    multi_valued=True,
    description="Groups the user belongs to; changed through the groups.",
    mutability="readOnly",
    sub_attributes=(
        Attribute("value", description="Id of the group.", mutability="readOnly"),
        Attribute(
            "$ref",
            "reference",
            description="Address of the group.",
            case_exact=True,
            mutability="readOnly",
            reference_types=("User", "Group"),
        ),
        Attribute("display", description="Name of the group.", mutability="readOnly"),
        Attribute(
            "type",
            description="Whether the membership is direct.",
            mutability="readOnly",
            canonical_values=("direct", "indirect"),
        ),
    ),
)

PASSWORD = Attribute(
    "password",
    description="Clear-text password to set; never returned.",
    case_exact=True,
    mutability="writeOnly",
    returned="never",
)

_USER = Schema(
    USER_URN,
    "User",
    "User Account",
    (
        Attribute(
            "userName",
            description="Name the user signs in with; unique, whatever its case.",
            required=True,
            uniqueness="server",
        ),
        _NAME,
        Attribute("displayName", description="Name to show to people."),
        Attribute("nickName", description="Casual name."),
        Attribute(
            "profileUrl",
            "reference",
            description="Address of the user's profile page.",
            case_exact=True,
            reference_types=("external",),
        ),
        Attribute("title", description="Job title."),
        Attribute("userType", description="Relation to the organization, such as Employee or Contractor."),
        Attribute("preferredLanguage", description="Preferred languages, as in Accept-Language."),
        Attribute("locale", description="Locale for dates, numbers and currency."),
        Attribute("timezone", description="Time zone, as an IANA name."),
        Attribute("active", "boolean", description="Whether the user may sign in."),
        PASSWORD,
        _plural(
            "emails",
            "e-mail address",
            value=Attribute("value", description="E-mail address."),
            types=("work", "home", "other"),
            description="E-mail addresses of the user.",
        ),
        _plural(
            "phoneNumbers",
            "phone number",
            value=Attribute("value", description="Phone number."),
            types=("work", "home", "mobile", "fax", "pager", "other"),
        ),
        _plural(
            "ims",
            "messaging address",
            value=Attribute("value", description="Messaging address."),
            types=("aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"),
            description="Instant messaging addresses of the user.",
        ),
        _plural(
            "photos",
            "photo",
            value=Attribute(
                "value",
                "reference",
                description="Address of the image.",
                case_exact=True,
                reference_types=("external",),
            ),
            types=("photo", "thumbnail"),
        ),
        _ADDRESSES,
        _GROUPS,
        _plural(
            "entitlements",
            "entitlement",
            value=Attribute("value", description="Entitlement."),
        ),
        _plural("roles", "role", value=Attribute("value", description="Role.")),
        _plural(
            "x509Certificates",
            "certificate",
            value=Attribute("value", "binary", description="DER certificate in base64.", case_exact=True),
        ),
    ),
)

MEMBERS = Attribute(
    "members",
    "complex",
    multi_valued=True,
    description="Members of the group.",
    sub_attributes=(
        Attribute("value", description="Id of the member.", required=True, mutability="immutable"),
        Attribute(
            "$ref",
            "reference",
            description="Address of the member.",
            case_exact=True,
            mutability="immutable",
            reference_types=("User", "Group"),
        ),
        Attribute(
            "type",
            description="Resource type of the member.",
            mutability="immutable",
            canonical_values=("User", "Group"),
        ),
        Attribute("display", description="Name of the member.", mutability="immutable"),
    ),
)

_GROUP = Schema(
    GROUP_URN,
    "Group",
    "Group",
    (
        Attribute("displayName", description="Name of the group.", required=True),
        MEMBERS,
    ),
)

ENTERPRISE = Schema(
    ENTERPRISE_URN,
    "EnterpriseUser",
    "Enterprise user",
    (
        Attribute("employeeNumber", description="Number of the employee in the organization."),
        Attribute("costCenter", description="Cost center."),
        Attribute("organization", description="Organization."),
        Attribute("division", description="Division."),
        Attribute("department", description="Department."),
        Attribute(
            "manager",
            "complex",
            description="The user's manager.",
            sub_attributes=(
                Attribute("value", description="Id of the manager."),
                Attribute(
                    "$ref",
                    "reference",
                    description="Address of the manager.",
                    case_exact=True,
                    reference_types=("User",),
                ),
                Attribute("displayName", description="Name of the manager.", mutability="readOnly"),
            ),
        ),
    ),
)

USER = ResourceType("User", "/Users", "User account", _USER, ((ENTERPRISE, False),))
GROUP = ResourceType("Group", "/Groups", "Group", _GROUP)
