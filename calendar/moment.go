package calendar

import (
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// Moment is when an event begins or ends: an instant, or a day for an all-day event,
// whose Time is then midnight UTC of that day. The zero Moment is none.
type Moment struct {
	Time   time.Time
	AllDay bool
}

const instantFormat = "2006-01-02T15:04:05.000Z"

// String returns "2026-03-10T09:00:00.000Z" or "2026-03-10".
func (m Moment) String() string {
	if m.AllDay {
		return m.Time.Format(time.DateOnly)
	}
	return m.Time.UTC().Format(instantFormat)
}

// MarshalText is String; "" for the zero Moment.
func (m Moment) MarshalText() ([]byte, error) {
	if m.Time.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (m *Moment) UnmarshalText(text []byte) error {
	*m = Moment{}
	if len(text) == 0 {
		return nil
	}
	if t, err := time.Parse(time.DateOnly, string(text)); err == nil {
		*m = Moment{Time: t, AllDay: true}
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err == nil {
		m.Time = t.UTC()
	}
	return err
}

// written is a date or time as a person wrote it.
type written struct {
	wall    time.Time // what was written, in time.UTC
	date    bool
	instant bool // with Z or an offset: wall is the instant in UTC
}

const dateHelp = `send a date like 2026-03-10, a local time like 2026-03-10T09:00:00, or a time with offset like 2026-03-10T09:00:00+01:00 or 2026-03-10T08:00:00Z`

// parseWritten reads a date or time; field names it in the error.
func parseWritten(field, sent string) (written, error) {
	s := strings.ToUpper(strings.TrimSpace(sent))
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return written{wall: t, date: true}, inRange(field, t)
	}
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.Truncate(time.Second)
			return written{wall: t}, inRange(field, t)
		}
		for _, zone := range []string{"Z07:00", "Z0700"} {
			if t, err := time.Parse(layout+zone, s); err == nil {
				t = t.UTC().Truncate(time.Second)
				return written{wall: t, instant: true}, inRange(field, t)
			}
		}
	}
	return written{}, invalid(field, "%q is not a date or time that exists; %s.", clip(sent, 60), dateHelp)
}

// The years that are accepted: whatever zone they are read in, four digits, and never
// the zero time.
const firstYear, lastYear = 1000, 9998

func inRange(field string, t time.Time) error {
	if t.Year() < firstYear || t.Year() > lastYear {
		return invalid(field, "the year %d is out of range; send one from %d to %d, for example 2026-03-10.", t.Year(), firstYear, lastYear)
	}
	return nil
}

// in returns the instant; a local time is read in loc.
func (w written) in(loc *time.Location) time.Time {
	if w.instant {
		return w.wall
	}
	return ical.Time{Wall: w.wall}.In(loc)
}

// loadZone returns an IANA zone by its name, or by a Windows name.
func loadZone(field, name string) (*time.Location, error) {
	if loc := namedZone(name); loc != nil {
		return loc, nil
	}
	return nil, invalid(field, "%q is not a time zone that is known; send an IANA name, for example Europe/Vienna.", clip(name, 60))
}

// zoneNames knows zones by all the names that iCalendar files use.
var zoneNames = ical.New("zones")

func namedZone(name string) *time.Location {
	if name == "" {
		return nil
	}
	loc, err := zoneNames.Zone(name)
	if err != nil {
		return nil
	}
	return loc
}

// clip cuts what is quoted in an error.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
