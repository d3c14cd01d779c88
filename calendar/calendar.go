package calendar

import (
	"strings"

	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/ical"
)

// Calendar is a calendar as callers see it. The JSON names are those of
// mcp-nextcloud-calendar.
type Calendar struct {
	ID          string         `json:"id"`
	DisplayName string         `json:"displayName"`
	Color       string         `json:"color"` // as the server has it, mostly #rrggbb
	Owner       string         `json:"owner"`
	IsDefault   bool           `json:"isDefault"`
	IsShared    bool           `json:"isShared"`
	IsReadOnly  bool           `json:"isReadOnly"`
	Permissions Permissions    `json:"permissions"`
	URL         string         `json:"url"` // for CalDAV; only the path of one on this server: see [Account]
	Category    string         `json:"category,omitempty"`
	Focus       int            `json:"focusPriority,omitempty"` // 1 to 10; 0: none
	TimeZone    string         `json:"timeZone,omitempty"`
	IsHidden    bool           `json:"isHidden,omitempty"` // left out where no calendar is named
	Metadata    map[string]any `json:"metadata"`
}

// Permissions say what the user may do.
type Permissions struct {
	CanRead   bool `json:"canRead"`
	CanWrite  bool `json:"canWrite"`
	CanShare  bool `json:"canShare"`
	CanDelete bool `json:"canDelete"`
}

// DefaultColor is that of calendars which have none.
const DefaultColor = "#0082c9"

// CalendarChange is what is to be set in a calendar. "" and 0 clear.
type CalendarChange struct {
	DisplayName Opt[string] `json:"displayName,omitzero"`
	Color       Opt[string] `json:"color,omitzero"`
	Category    Opt[string] `json:"category,omitzero"`
	Focus       Opt[int]    `json:"focusPriority,omitzero"`
}

// IsEmpty says whether the change sets nothing.
func (c *CalendarChange) IsEmpty() bool {
	return !(c.DisplayName.Set || c.Color.Set || c.Category.Set || c.Focus.Set)
}

func (c *CalendarChange) check() error {
	c.DisplayName.Value = strings.TrimSpace(c.DisplayName.Value)
	if c.DisplayName.Set && c.DisplayName.Value == "" {
		return invalid("displayName", "a calendar needs a name; send some text, for example %q.", "Work")
	}
	if err := checkLength("displayName", c.DisplayName.Value, 255); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{{"displayName", c.DisplayName.Value}, {"category", c.Category.Value}} {
		if err := checkCharacters(f.name, f.value); err != nil {
			return err
		}
	}
	if err := checkColor(&c.Color.Value); err != nil {
		return err
	}
	if hex := cssColors()[c.Color.Value]; hex != "" {
		c.Color.Value = "#" + hex // what calendars have is no name
	}
	if err := checkADHDCategory("category", c.Category.Value); err != nil {
		return err
	}
	return checkNumber("focusPriority", c.Focus.Value, 10)
}

func (c *CalendarChange) props() caldav.Props {
	var p caldav.Props
	set := func(to **string, o *Opt[string]) {
		if o.Set {
			*to = &o.Value
		}
	}
	set(&p.DisplayName, &c.DisplayName)
	set(&p.Color, &c.Color)
	set(&p.Category, &c.Category)
	if c.Focus.Set {
		p.FocusPriority = &c.Focus.Value
	}
	return p
}

// collection is a calendar as the server listed it, as it is kept in the copy.
type collection struct {
	ID       string      `cbor:"1,keyasint"`
	Href     string      `cbor:"2,keyasint"`
	Name     string      `cbor:"3,keyasint"`
	Color    string      `cbor:"4,keyasint"`
	Owner    string      `cbor:"5,keyasint"`
	Shared   bool        `cbor:"6,keyasint"`
	Allowed  Permissions `cbor:"7,keyasint"`
	Category string      `cbor:"8,keyasint"`
	Focus    int         `cbor:"9,keyasint"`
	Zone     string      `cbor:"10,keyasint"`
	CTag     string      `cbor:"11,keyasint"`
	Token    string      `cbor:"12,keyasint"`
	Events   bool        `cbor:"13,keyasint"` // it takes VEVENT
	Order    int         `cbor:"14,keyasint"`
	Theirs   bool        `cbor:"15,keyasint,omitempty"` // another's, who shares it
}

func newCollection(home caldav.Home, cal *caldav.Calendar) collection {
	set := ""
	if len(home.Sets) > 0 {
		set = home.Sets[0]
	}
	shared := cal.SharedWith(home.Principal)
	c := collection{
		ID: calendarID(set, cal.Href), Href: cal.Href, Name: cal.DisplayName, Color: cal.Color,
		Shared: shared || len(cal.Invites) > 0, Theirs: shared, Category: cal.Category, Focus: min(max(cal.FocusPriority, 0), 10),
		Zone: zoneNameOf(cal), CTag: cal.CTag, Token: cal.SyncToken, Events: cal.Supports("VEVENT"), Order: cal.Order,
		Owner: ownerOf(cal, home),
		Allowed: Permissions{
			CanRead: cal.Privileges.Has("read") || cal.Privileges.Has("write"), CanWrite: !cal.ReadOnly(),
			CanShare: !shared && cal.Privileges.Has("write-acl") || !shared && cal.Privileges.Has("share"),
			// A sharee's DELETE only ends the share; the birthday calendar comes back by itself.
			CanDelete: shared || !cal.ReadOnly(),
		},
	}
	if c.Name == "" {
		c.Name = plainName(cal.Href)
	}
	return c
}

// isBirthdays knows Nextcloud's generated calendar, which nobody means by "my calendars".
func (c *collection) isBirthdays() bool { return plainName(c.Href) == "contact_birthdays" }

func ownerOf(cal *caldav.Calendar, home caldav.Home) string {
	switch {
	case cal.OwnerName != "":
		return cal.OwnerName
	case cal.OwnerID != "":
		return plainName(cal.OwnerID)
	case strings.HasPrefix(cal.Owner, "/"):
		return plainName(cal.Owner)
	case home.DisplayName != "":
		return home.DisplayName
	}
	return plainName(home.Principal)
}

// zoneNameOf finds the IANA name of a calendar's zone.
func zoneNameOf(cal *caldav.Calendar) string {
	if loc := namedZone(cal.TimezoneID); loc != nil {
		return loc.String()
	}
	if cal.Timezone == "" {
		return ""
	}
	tz, err := ical.Parse([]byte(cal.Timezone), nil)
	if err != nil {
		return ""
	}
	for _, v := range tz.Components("VTIMEZONE") {
		if loc, err := tz.Zone(v.Text("TZID")); err == nil && namedZone(loc.String()) != nil {
			return loc.String()
		}
	}
	return ""
}
