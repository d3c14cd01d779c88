package ical

import (
	"strconv"
	"strings"
	"time"
)

// Duration is a DURATION value (RFC 5545, section 3.3.6). Days are nominal: a
// day over a change of clocks has 23 or 25 hours. Weeks are seven days. Both
// fields have the same sign. Durations are comparable.
type Duration struct {
	Days int
	Time time.Duration // whole seconds
}

// ParseDuration reads a DURATION: "PT15M", "-P1W", "+P1DT12H".
func ParseDuration(s string) (Duration, error) {
	bad := func(why string) (Duration, error) { return Duration{}, badValue("duration", s, why) }
	rest := upper(strings.TrimSpace(s))
	sign := int64(1)
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		if rest[0] == '-' {
			sign = -1
		}
		rest = rest[1:]
	}
	rest, ok := strings.CutPrefix(rest, "P")
	if !ok || rest == "" {
		return bad("")
	}
	var days, secs int64
	inTime := false
	for rest != "" {
		if rest[0] == 'T' && !inTime {
			inTime, rest = true, rest[1:]
			continue
		}
		n, unit, tail, ok := number(rest)
		if !ok {
			return bad("")
		}
		rest = tail
		switch {
		case unit == 'W' && !inTime:
			days += 7 * n
		case unit == 'D' && !inTime:
			days += n
		case unit == 'H' && inTime:
			secs += 3600 * n
		case unit == 'M' && inTime:
			secs += 60 * n
		case unit == 'S' && inTime:
			secs += n
		default:
			return bad("unit in the wrong place")
		}
		if days > maxDays || secs > maxDays*daySeconds {
			return bad("longer than 100 years")
		}
	}
	return Duration{Days: int(sign * days), Time: time.Duration(sign*secs) * time.Second}, nil
}

// maxDays keeps sums of durations far from overflow.
const maxDays = 36_600

// number takes digits and the letter behind them.
func number(s string) (n int64, unit byte, rest string, ok bool) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	if i == 0 || i > 9 || i == len(s) {
		return 0, 0, "", false
	}
	n, _ = strconv.ParseInt(s[:i], 10, 64)
	return n, s[i], s[i+1:], true
}

// String writes the duration as RFC 5545 has it: "P2W", "-PT15M", "PT0S".
func (d Duration) String() string {
	var b strings.Builder
	if d.Days < 0 || d.Time < 0 {
		b.WriteByte('-')
		d.Days, d.Time = -d.Days, -d.Time
	}
	b.WriteByte('P')
	if d.Days > 0 && d.Days%7 == 0 && d.Time == 0 {
		return b.String() + strconv.Itoa(d.Days/7) + "W"
	}
	if d.Days > 0 {
		b.WriteString(strconv.Itoa(d.Days) + "D")
	}
	if d.Time == 0 && d.Days > 0 {
		return b.String()
	}
	b.WriteByte('T')
	h, m, s := d.Time/time.Hour, d.Time/time.Minute%60, d.Time/time.Second%60
	if h > 0 {
		b.WriteString(strconv.Itoa(int(h)) + "H")
	}
	if m > 0 {
		b.WriteString(strconv.Itoa(int(m)) + "M")
	}
	if s > 0 || h == 0 && m == 0 {
		b.WriteString(strconv.Itoa(int(s)) + "S")
	}
	return b.String()
}

// seconds takes a day for 24 hours.
func (d Duration) seconds() int64 { return int64(d.Days)*daySeconds + int64(d.Time/time.Second) }
