package ical

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A VTIMEZONE becomes a time.Location by way of the TZif format (RFC 8536), the
// only door that package time has for zones of one's own. Everything else in this
// package then knows one kind of zone.

const (
	zoneFrom       = -2208988800 // 1900: what is earlier is kept only as the state then
	zoneUntil      = 4102444800  // 2100
	maxTransitions = 4096
	zoneSteps      = 50_000 // of all rules of one VTIMEZONE
)

// transition is a moment at which clocks change.
type transition struct {
	at       int64 // instant
	from, to int   // offsets in seconds
	name     string
	dst      bool
}

var vtimezones struct {
	sync.Mutex
	// by the component's bytes; guarded by the mutex
	locs map[string]*time.Location
}

// cachedVTimezone is LoadVTimezone with a memory: the same VTIMEZONE stands in
// every object of a calendar.
func cachedVTimezone(v *Component) (*time.Location, error) {
	key := string(v.Bytes())
	vtimezones.Lock()
	loc := vtimezones.locs[key]
	vtimezones.Unlock()
	if loc != nil {
		return loc, nil
	}
	loc, err := LoadVTimezone(v)
	if err != nil {
		return nil, err
	}
	if len(key) > 64<<10 {
		return loc, nil
	}
	vtimezones.Lock()
	defer vtimezones.Unlock()
	if vtimezones.locs == nil || len(vtimezones.locs) >= 64 {
		vtimezones.locs = make(map[string]*time.Location)
	}
	vtimezones.locs[key] = loc
	return loc, nil
}

// LoadVTimezone evaluates a VTIMEZONE (RFC 5545, section 3.6.5): its STANDARD and
// DAYLIGHT parts with their RRULE and RDATE, up to the year 2100. The name of the
// location is the TZID. Parts that can't be read are left out; without any the
// error is ErrUnknownZone. Too many changes of the clocks are a *LimitError.
func LoadVTimezone(v *Component) (*time.Location, error) {
	var all []transition
	budget := zoneSteps
	for _, part := range v.Components("") {
		if part.name == "STANDARD" || part.name == "DAYLIGHT" {
			all = append(all, onsets(part, &budget)...)
		}
		if err := over("number of changes in a VTIMEZONE", len(all), maxTransitions); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, ErrUnknownZone
	}
	slices.SortStableFunc(all, func(a, b transition) int { return int(max(-1, min(1, a.at-b.at))) })
	loc, err := time.LoadLocationFromTZData(v.Text("TZID"), tzif(all))
	if err != nil {
		return nil, fmt.Errorf("build zone: %w", err)
	}
	return loc, nil
}

// onsets returns when one STANDARD or DAYLIGHT part begins to hold.
func onsets(part *Component, budget *int) []transition {
	start, err := part.Time("DTSTART")
	from, okFrom := parseOffset(part.Text("TZOFFSETFROM"))
	to, okTo := parseOffset(part.Text("TZOFFSETTO"))
	if err != nil || !okTo {
		return nil
	}
	if !okFrom {
		from = to
	}
	t := transition{from: from, to: to, name: part.Text("TZNAME"), dst: part.name == "DAYLIGHT"}
	var out []transition
	add := func(wall int64) {
		// Local times here are those of the clock before the change.
		t.at = wall - int64(from)
		if len(out) <= maxTransitions && (len(out) == 0 || out[len(out)-1] != t) {
			out = append(out, t)
		}
	}
	add(start.wall())
	for _, p := range part.Properties("RRULE") {
		r, err := p.Rule()
		if err != nil {
			continue
		}
		limit := int64(zoneUntil)
		if u := r.Until; !u.IsZero() {
			if u.UTC {
				u = u.at(u.wall() + int64(from))
			}
			limit = min(limit, untilWall(u))
		}
		it := newIterator(r, start.wall(), false, budget)
		it.seek(zoneFrom)
		for wall, ok := it.next(limit); ok; wall, ok = it.next(limit) {
			add(wall)
		}
	}
	for _, p := range part.Properties("RDATE") {
		times, _ := p.Times()
		for _, rd := range times {
			if rd.UTC {
				rd = rd.at(rd.wall() + int64(from))
			}
			add(rd.wall())
		}
	}
	return out
}

// untilWall is the last wall that an UNTIL allows: a date allows the whole day.
func untilWall(u Time) int64 {
	if u.Date {
		return u.wall() + daySeconds - 1
	}
	return u.wall()
}

// parseOffset reads a UTC-OFFSET: "+0100", "-053730", tolerantly "+01:00".
func parseOffset(s string) (seconds int, ok bool) {
	s = strings.ReplaceAll(strings.TrimSpace(s), ":", "")
	if len(s) != 5 && len(s) != 7 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:], 10, 32)
	if err != nil {
		return 0, false
	}
	if len(s) == 5 {
		n *= 100
	}
	sec := int(n/10000*3600 + n/100%100*60 + n%100)
	if s[0] == '-' {
		sec = -sec
	}
	return sec, sec > -slack && sec < slack
}

func formatOffset(sec int) string {
	sign := '+'
	if sec < 0 {
		sign, sec = '-', -sec
	}
	s := fmt.Sprintf("%c%02d%02d", sign, sec/3600, sec/60%60)
	if sec%60 != 0 {
		s += fmt.Sprintf("%02d", sec%60)
	}
	return s
}

// tzif writes the sorted transitions as a version 2 TZif file without a rule for
// the time after the last.
func tzif(all []transition) []byte {
	type kind struct {
		off  int
		dst  bool
		name string
	}
	// Type 0 is what holds before the first transition; no transition uses it.
	kinds := []kind{{off: all[0].from, name: "LMT"}}
	var at []int64
	var which []byte
	for _, t := range all {
		k := kind{t.to, t.dst, zoneName(t.name, t.to)}
		i := slices.Index(kinds[1:], k) + 1
		if i == 0 {
			if len(kinds) == 64 { // abbreviations are reached by one octet
				continue
			}
			i = len(kinds)
			kinds = append(kinds, k)
		}
		if n := len(at); n > 0 && at[n-1] == t.at {
			which[n-1] = byte(i)
			continue
		}
		at = append(at, t.at)
		which = append(which, byte(i))
	}
	var names []byte
	var types []byte
	index := make(map[string]int)
	for _, k := range kinds {
		j, ok := index[k.name]
		if !ok {
			j = 0
			if len(names)+len(k.name) < 250 {
				j = len(names)
				index[k.name] = j
				names = append(append(names, k.name...), 0)
			}
		}
		dst := byte(0)
		if k.dst {
			dst = 1
		}
		types = binary.BigEndian.AppendUint32(types, uint32(int32(k.off)))
		types = append(types, dst, byte(j))
	}
	header := func(times, types, chars int) []byte {
		b := append([]byte("TZif2"), make([]byte, 15)...)
		for _, n := range []int{0, 0, 0, times, types, chars} {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
		return b
	}
	// The first block is for readers of 32 bits: as small as it may be.
	out := append(header(0, 1, 1), 0, 0, 0, 0, 0, 0, 0)
	out = append(out, header(len(at), len(kinds), len(names))...)
	for _, t := range at {
		out = binary.BigEndian.AppendUint64(out, uint64(t))
	}
	out = append(out, which...)
	out = append(out, types...)
	out = append(out, names...)
	return append(out, "\n\n"...)
}

// zoneName is an abbreviation fit for the file: a TZNAME is free text.
func zoneName(name string, off int) string {
	if name == "" || len(name) > 12 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return formatOffset(off)
	}
	return name
}
