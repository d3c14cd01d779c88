package ical

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every zone in the table, written as a VTIMEZONE and read back, shows the same
// time at each change of its clocks, just before and just after.
func TestVTimezoneOfEveryZone(t *testing.T) {
	names := slices.Sorted(maps.Values(windowsZones))
	names = append(names, "Africa/Casablanca", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Kolkata",
		"Europe/Vienna", "Europe/Dublin", "Antarctica/Troll", "America/Nuuk", "Asia/Gaza", "Africa/Cairo",
		"Pacific/Chatham", "America/Caracas", "Asia/Kathmandu", "America/St_Johns", "Africa/Monrovia")
	for _, name := range slices.Compact(names) {
		loc := ianaZone(name)
		if loc == nil {
			t.Errorf("no zone %s", name)
			continue
		}
		for _, year := range []int{1970, 1999, 2026} {
			from := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
			v := NewTimezone("My "+name, loc, from)
			got, err := LoadVTimezone(v)
			if err != nil {
				t.Errorf("LoadVTimezone(%s): %v", name, err)
				continue
			}
			probe := func(u int64) {
				if g, w := offsetAt(u, got), offsetAt(u, loc); g != w {
					t.Errorf("%s from %d: offset at %s is %d, want %d\n%s", name, year, time.Unix(u, 0).UTC(), g, w, v.Bytes())
				}
			}
			for _, tr := range transitions(loc, from.Unix()) {
				if tr.at > from.Unix() {
					probe(tr.at - 1)
					probe(tr.at)
				}
				if t.Failed() {
					return
				}
			}
			for y := year; y < 2099; y++ {
				probe(time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
				probe(time.Date(y, 7, 1, 0, 0, 0, 0, time.UTC).Unix())
			}
		}
	}
}

func TestZone(t *testing.T) {
	cal := parse(t, `BEGIN:VCALENDAR
BEGIN:VTIMEZONE
TZID:Custom Zone/My TZ
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:a name too long for a zone file
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
BEGIN:VTIMEZONE
TZID:located
X-LIC-LOCATION:Asia/Tokyo
END:VTIMEZONE
BEGIN:VTIMEZONE
TZID:two offsets
BEGIN:STANDARD
DTSTART:16010101T000000
TZOFFSETFROM:-0330
TZOFFSETTO:-033015
RDATE:20260101T000000,20260201T000000Z
END:STANDARD
BEGIN:STANDARD
DTSTART:20260115T000000
TZOFFSETFROM:-033015
TZOFFSETTO:+05:00
END:STANDARD
END:VTIMEZONE
BEGIN:VTIMEZONE
TZID:until
BEGIN:DAYLIGHT
DTSTART:20200329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;UNTIL=20210328T010000Z
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
BEGIN:STANDARD
DTSTART:20201025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=20211031T010000Z
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VTIMEZONE
TZID:empty
END:VTIMEZONE
END:VCALENDAR
`)
	for _, tc := range []struct {
		tzid, at string
		want     int64 // seconds; -1: ErrUnknownZone
	}{
		{"Europe/Vienna", "20260701T000000Z", 7200},
		{"europe/vienna", "20260101T000000Z", 3600},
		{"W. Europe Standard Time", "20260701T000000Z", 7200},
		{"w. europe standard time", "20260701T000000Z", 7200},
		{"/freeassociation.sourceforge.net/Europe/Berlin", "20260701T000000Z", 7200},
		{"/citadel.org/20210210_1/America/Argentina/Buenos_Aires", "20260701T000000Z", -10800},
		{"tzone://Microsoft/Utc", "20260701T000000Z", -1},
		{"/example.test/UTC", "20260701T000000Z", 0},
		{"Acme/EST", "20260701T000000Z", -1},
		{"Etc/GMT+2", "20260701T000000Z", -7200},
		{"UTC+02:00", "20260701T000000Z", 7200},
		{"GMT-0330", "20260701T000000Z", -12600},
		{"UTC", "20260701T000000Z", 0},
		{"located", "20260701T000000Z", 32400},
		{"Custom Zone/My TZ", "20260329T005959Z", 3600},
		{"Custom Zone/My TZ", "20260329T010000Z", 7200},
		{"Custom Zone/My TZ", "20261025T010000Z", 3600},
		{"Custom Zone/My TZ", "20990701T000000Z", 7200},
		{"Custom Zone/My TZ", "19600701T000000Z", 3600},
		{"two offsets", "15000101T000000Z", -12600},
		{"two offsets", "20260110T000000Z", -12615},
		{"two offsets", "20260116T000000Z", 18000},
		{"two offsets", "20260201T000000Z", -12615},
		{"until", "20210601T000000Z", 7200},
		{"until", "20211201T000000Z", 3600},
		{"until", "20220601T000000Z", 3600},
		{"empty", "20220601T000000Z", -1},
		{"Mars/Phobos", "20260701T000000Z", -1},
		{"Local", "20260701T000000Z", -1},
		{"right/Europe/Vienna", "20260701T000000Z", 7200},
		{"../../etc/passwd", "20260701T000000Z", -1},
		{"", "20260701T000000Z", -1},
	} {
		loc, err := cal.Zone(tc.tzid)
		got := int64(-1)
		if err == nil {
			got = offsetAt(at(t, tc.at).Unix(), loc)
		} else if !errors.Is(err, ErrUnknownZone) {
			t.Errorf("Zone(%q): %v", tc.tzid, err)
		}
		if got != tc.want {
			t.Errorf("Zone(%q) at %s = %d, want %d", tc.tzid, tc.at, got, tc.want)
		}
	}
}

// Times that the clocks skip or show twice, by RFC 5545, section 3.3.5, in both
// hemispheres and over the date line.
func TestInstantAroundChanges(t *testing.T) {
	for _, tc := range []struct{ zone, wall, want string }{
		{"America/New_York", "20070311T023000", "20070311T073000Z"}, // the RFC's own: 3:30 EDT
		{"America/New_York", "20071104T013000", "20071104T053000Z"}, // the RFC's own: 1:30 EDT
		{"Europe/Vienna", "20260329T015959", "20260329T005959Z"},
		{"Europe/Vienna", "20260329T020000", "20260329T010000Z"},
		{"Europe/Vienna", "20260329T030000", "20260329T010000Z"},
		{"Europe/Vienna", "20261025T020000", "20261025T000000Z"},
		{"Europe/Vienna", "20261025T030000", "20261025T020000Z"},
		{"Australia/Lord_Howe", "20261004T021500", "20261003T154500Z"}, // half an hour
		{"Australia/Lord_Howe", "20260405T014500", "20260404T144500Z"},
		{"Pacific/Apia", "20111230T120000", "20111230T220000Z"}, // the day that was not
		{"Pacific/Apia", "20111231T080000", "20111230T180000Z"},
		{"Africa/Casablanca", "20260215T023000", "20260215T013000Z"},
		{"Asia/Kolkata", "20260329T023000", "20260328T210000Z"},
	} {
		v, err := ParseTime(tc.wall, "")
		if err != nil {
			t.Fatal(err)
		}
		loc := ianaZone(tc.zone)
		if got := v.In(loc).UTC().Format("20060102T150405Z"); got != tc.want {
			t.Errorf("%s in %s = %s, want %s", tc.wall, tc.zone, got, tc.want)
		}
		// The clock that remembers must answer the same, whatever it remembers.
		for _, before := range []int64{-400 * daySeconds, -daySeconds, 0, daySeconds, 400 * daySeconds} {
			c := clock{loc: loc}
			c.instant(v.wall() + before)
			if got := time.Unix(c.instant(v.wall()), 0).UTC().Format("20060102T150405Z"); got != tc.want {
				t.Errorf("clock: %s in %s = %s, want %s", tc.wall, tc.zone, got, tc.want)
			}
		}
	}
}

func TestEnsureTimezones(t *testing.T) {
	cal := parse(t, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:Asia/Tokyo\r\nEND:VTIMEZONE\r\nBEGIN:VTIMEZONE\r\nTZID:unused\r\nEND:VTIMEZONE\r\n"+
		"BEGIN:VEVENT\r\nDTSTART;TZID=Asia/Tokyo:20260101T000000\r\nRDATE;TZID=Europe/Vienna:19990101T000000\r\nDTEND;TZID=Europe/Vienna:20260701T000000\r\n"+
		"EXDATE;TZID=Mars/Phobos:20260101T000000\r\nX-T;TZID=W. Europe Standard Time:20260101T000000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	if got, want := cal.EnsureTimezones(), []string{"Mars/Phobos"}; !slices.Equal(got, want) {
		t.Errorf("EnsureTimezones() = %v, want %v", got, want)
	}
	var got []string
	for _, c := range cal.Components("") {
		got = append(got, c.Name()+" "+c.Text("TZID")+" "+c.Text("X-LIC-LOCATION"))
	}
	want := []string{"VTIMEZONE Asia/Tokyo ", "VTIMEZONE unused ", "VTIMEZONE Europe/Vienna ", "VTIMEZONE W. Europe Standard Time Europe/Berlin", "VEVENT  "}
	if !slices.Equal(got, want) {
		t.Errorf("components %q, want %q", got, want)
	}
	loc, err := LoadVTimezone(cal.Components("VTIMEZONE")[2])
	if err != nil {
		t.Fatal(err)
	}
	if got := offsetAt(at(t, "19990101T000000Z").Unix(), loc); got != 3600 {
		t.Errorf("offset in January 1999 is %d, want 3600", got)
	}
	before := string(cal.Bytes())
	cal.EnsureTimezones()
	if after := string(cal.Bytes()); after != before {
		t.Errorf("a second time adds:\n%s", after)
	}
	empty := New("x")
	empty.EnsureTimezones()
}

// Zones whose clocks change by a yearly rule get the rule, however odd it is.
func TestNewTimezoneWritesRules(t *testing.T) {
	for zone, want := range map[string][]string{
		"America/New_York":    {"FREQ=YEARLY;BYMONTH=11;BYDAY=1SU", "FREQ=YEARLY;BYMONTH=3;BYDAY=2SU"},
		"Asia/Jerusalem":      {"FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU", "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=23,24,25,26,27,28,29;BYDAY=FR"},
		"Africa/Cairo":        {"FREQ=YEARLY;BYYEARDAY=-67,-66,-65,-64,-63,-62,-61;BYDAY=FR", "FREQ=YEARLY;BYMONTH=4;BYDAY=-1FR"},
		"Australia/Lord_Howe": {"FREQ=YEARLY;BYMONTH=10;BYDAY=1SU", "FREQ=YEARLY;BYMONTH=4;BYDAY=1SU"},
		"Africa/Casablanca":   nil,
		"Asia/Kolkata":        nil,
	} {
		// As other readers need it: DTSTART repeated, a line for each.
		for _, c := range NewTimezone(zone, ianaZone(zone), time.Unix(0, 0)).Components("") {
			dates := c.Properties("RDATE")
			if len(dates) == 0 {
				continue
			}
			if len(dates) < 2 || dates[0].Value() != c.Text("DTSTART") || strings.Contains(dates[1].Value(), ",") {
				t.Errorf("%s: bad RDATE in\n%s", zone, c.Bytes())
			}
		}
		v := NewTimezone(zone, ianaZone(zone), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		var got []string
		for _, c := range v.Components("") {
			for _, p := range c.Properties("RRULE") {
				got = append(got, p.Value())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", zone, got, want)
		}
	}
}
