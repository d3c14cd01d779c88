package ical

import (
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // machines without a zone database
)

// Zone returns the time zone that a TZID stands for in this calendar. It is, in
// this order: the IANA zone of that name; that of a Windows name; that in the
// TZID's last parts ("/freeassociation.sourceforge.net/Europe/Berlin"); that in
// the VTIMEZONE's X-LIC-LOCATION; the VTIMEZONE itself, evaluated; a fixed offset
// ("UTC+02:00"). A well-known name goes before the VTIMEZONE because calendars
// carry outdated copies of it. Else the error is ErrUnknownZone.
//
// A zone made from a VTIMEZONE knows changes of clocks up to the year 2100.
func (c *Calendar) Zone(tzid string) (*time.Location, error) {
	if loc := namedZone(tzid); loc != nil {
		return loc, nil
	}
	for _, v := range c.Components("VTIMEZONE") {
		if v.Text("TZID") != tzid {
			continue
		}
		if loc := namedZone(v.Text("X-LIC-LOCATION")); loc != nil {
			return loc, nil
		}
		if loc, err := cachedVTimezone(v); err == nil {
			return loc, nil
		}
	}
	if loc := fixedZone(tzid); loc != nil {
		return loc, nil
	}
	return nil, ErrUnknownZone
}

// Instant returns the instant of a Time in this calendar. Floating times and
// dates are read in the default zone (nil: UTC), and so are times whose TZID is
// unknown, together with ErrUnknownZone.
func (c *Calendar) Instant(t Time, def *time.Location) (time.Time, error) {
	if def == nil {
		def = time.UTC
	}
	if t.TZID == "" || t.UTC || t.Date {
		return t.In(def), nil
	}
	loc, err := c.Zone(t.TZID)
	if err != nil {
		return t.In(def), err
	}
	return t.In(loc), nil
}

// namedZone finds a zone by its name alone, nil if there is none.
func namedZone(tzid string) *time.Location {
	tzid = strings.Trim(strings.TrimSpace(tzid), `"`)
	if loc := ianaZone(tzid); loc != nil {
		return loc
	}
	if loc := foldedZone(tzid); loc != nil {
		return loc
	}
	// Prefixes: "/mozilla.org/20050126_1/", "/citadel.org/20210210_1/", and such.
	for rest := tzid; ; {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		if loc := ianaZone(rest); loc != nil && (strings.Contains(rest, "/") || rest == "UTC") {
			return loc
		}
	}
	return nil
}

// fixedZone reads "UTC+02:00", "GMT-0330", "UTC+1", as some exporters write.
func fixedZone(tzid string) *time.Location {
	s := upper(strings.TrimSpace(tzid))
	rest, ok := strings.CutPrefix(s, "UTC")
	if !ok {
		rest, ok = strings.CutPrefix(s, "GMT")
	}
	if !ok || len(rest) < 2 {
		return nil
	}
	digits := strings.ReplaceAll(rest[1:], ":", "")
	if len(digits) < 3 {
		digits += "00"
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) > 4 || n/100 > 14 || n%100 > 59 {
		return nil
	}
	off := int(n/100*3600 + n%100*60)
	switch rest[0] {
	case '+':
	case '-':
		off = -off
	default:
		return nil
	}
	return time.FixedZone(s, off)
}

// ianaCache holds the zones that were asked for: loading one reads a file. It is
// bounded by the number of zones there are.
var ianaCache sync.Map // string → *time.Location

// ianaZone loads a zone by its exact name, nil if it is none. It keeps from
// time.LoadLocation what that takes for more than a name.
func ianaZone(name string) *time.Location {
	if loc, ok := ianaCache.Load(name); ok {
		return loc.(*time.Location)
	}
	if !isZoneName(name) {
		return nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	ianaCache.Store(name, loc)
	return loc
}

// isZoneName refuses what a zone directory holds besides zones: "Local" and
// "localtime" mean this machine's, "right/" counts leap seconds.
func isZoneName(s string) bool {
	switch first, _, _ := strings.Cut(s, "/"); first {
	case "", "Local", "localtime", "posix", "posixrules", "right", "Factory":
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '-', c == '+', c == '/' && i > 0:
		default:
			return false
		}
	}
	return len(s) <= 64
}

// foldedZone finds Windows names, and IANA names, in any letter case.
func foldedZone(tzid string) *time.Location {
	lowerOnce.Do(func() {
		for w, iana := range windowsZones {
			lowerNames[strings.ToLower(w)] = iana
			lowerNames[strings.ToLower(iana)] = iana
		}
	})
	if name, ok := lowerNames[strings.ToLower(tzid)]; ok {
		return ianaZone(name)
	}
	if !strings.Contains(tzid, "/") {
		return nil
	}
	name := []byte(strings.ToLower(tzid))
	for i := range name {
		if c := name[i]; 'a' <= c && c <= 'z' && (i == 0 || strings.IndexByte("/_-", name[i-1]) >= 0) {
			name[i] -= 'a' - 'A'
		}
	}
	return ianaZone(string(name))
}

var (
	lowerOnce  sync.Once
	lowerNames = make(map[string]string)
)
