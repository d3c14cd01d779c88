package ical

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Frequency is a rule's FREQ.
type Frequency int

// The frequencies, from the longest period to the shortest.
const (
	Yearly Frequency = iota + 1
	Monthly
	Weekly
	Daily
	Hourly
	Minutely
	Secondly
)

var frequencies = []string{"", "YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"}

func (f Frequency) String() string {
	if f < Yearly || f > Secondly {
		return fmt.Sprintf("Frequency(%d)", int(f))
	}
	return frequencies[f]
}

// WeekdayNum is one entry of BYDAY: every such weekday if N is 0, else the Nth
// of the month or year, counted from the end if N is negative.
type WeekdayNum struct {
	N   int
	Day time.Weekday
}

func (w WeekdayNum) String() string {
	s := weekdays[w.Day]
	if w.N != 0 {
		s = strconv.Itoa(w.N) + s
	}
	return s
}

var weekdays = [7]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// Rule is a recurrence rule (RFC 5545, section 3.3.10). Lists are in any order.
type Rule struct {
	Freq       Frequency
	Interval   int  // 0 and 1 mean every period
	Count      int  // 0: no COUNT
	Until      Time // zero: no UNTIL
	BySecond   []int
	ByMinute   []int
	ByHour     []int
	ByDay      []WeekdayNum
	ByMonthDay []int
	ByYearDay  []int
	ByWeekNo   []int
	ByMonth    []int
	BySetPos   []int
	WeekStart  time.Weekday // as ParseRule sets it: Monday unless WKST says otherwise
}

// ParseRule reads a RECUR value. Order, letter case, spaces around parts and
// parts that begin with X- do not matter; COUNT together with UNTIL is taken as
// both. RFC 7529's RSCALE is accepted for GREGORIAN, SKIP for OMIT. Anything else
// that the RFC forbids is a *ValueError.
func ParseRule(s string) (*Rule, error) {
	r := &Rule{WeekStart: time.Monday}
	for part := range strings.SplitSeq(upper(strings.TrimSpace(s)), ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		if why := r.set(key, value); why != "" {
			return nil, badValue("recurrence rule", s, key+": "+why)
		}
	}
	if r.Freq == 0 {
		return nil, badValue("recurrence rule", s, "no FREQ")
	}
	return r, nil
}

// set reads one part and returns what is wrong with it.
func (r *Rule) set(key, value string) string {
	switch key {
	case "FREQ":
		i := slices.Index(frequencies, value)
		if i < 1 {
			return "unknown"
		}
		r.Freq = Frequency(i)
	case "INTERVAL":
		return positive(&r.Interval, value)
	case "COUNT":
		return positive(&r.Count, value)
	case "UNTIL":
		t, err := ParseTime(value, "")
		if err != nil {
			return "no date or date-time"
		}
		r.Until = t
	case "WKST":
		i := slices.Index(weekdays[:], value)
		if i < 0 {
			return "no weekday"
		}
		r.WeekStart = time.Weekday(i)
	case "BYDAY":
		for v := range strings.SplitSeq(value, ",") {
			w, ok := parseWeekdayNum(strings.TrimSpace(v))
			if !ok {
				return "no weekday"
			}
			r.ByDay = append(r.ByDay, w)
		}
	case "BYSECOND":
		return numbers(&r.BySecond, value, 0, 60)
	case "BYMINUTE":
		return numbers(&r.ByMinute, value, 0, 59)
	case "BYHOUR":
		return numbers(&r.ByHour, value, 0, 23)
	case "BYMONTHDAY":
		return numbers(&r.ByMonthDay, value, -31, 31)
	case "BYYEARDAY":
		return numbers(&r.ByYearDay, value, -366, 366)
	case "BYWEEKNO":
		return numbers(&r.ByWeekNo, value, -53, 53)
	case "BYMONTH":
		return numbers(&r.ByMonth, value, 1, 12)
	case "BYSETPOS":
		return numbers(&r.BySetPos, value, -366, 366)
	case "RSCALE":
		if value != "GREGORIAN" {
			return "only GREGORIAN is known"
		}
	case "SKIP":
		if value != "OMIT" {
			return "only OMIT is known"
		}
	default:
		if !strings.HasPrefix(key, "X-") {
			return "unknown part"
		}
	}
	return ""
}

func positive(dst *int, value string) string {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || n == 0 {
		return "no positive number"
	}
	*dst = int(n)
	return ""
}

// numbers reads a list; where the range has negative numbers, 0 is not allowed.
func numbers(dst *[]int, value string, lo, hi int) string {
	for v := range strings.SplitSeq(value, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil || n < lo || n > hi || n == 0 && lo < 0 {
			return "number out of range"
		}
		if !slices.Contains(*dst, n) { // which also bounds the list
			*dst = append(*dst, n)
		}
	}
	return ""
}

func parseWeekdayNum(s string) (WeekdayNum, bool) {
	if len(s) < 2 {
		return WeekdayNum{}, false
	}
	w := WeekdayNum{Day: time.Weekday(slices.Index(weekdays[:], s[len(s)-2:]))}
	if w.Day < 0 {
		return w, false
	}
	if s = s[:len(s)-2]; s == "" {
		return w, true
	}
	n, err := strconv.Atoi(s)
	w.N = n
	return w, err == nil && n != 0 && n >= -53 && n <= 53
}

// String writes the rule as a RECUR value.
func (r *Rule) String() string {
	b := []byte("FREQ=" + r.Freq.String())
	add := func(key, value string) { b = append(b, ";"+key+"="+value...) }
	if !r.Until.IsZero() {
		add("UNTIL", r.Until.String())
	}
	if r.Count > 0 {
		add("COUNT", strconv.Itoa(r.Count))
	}
	if r.Interval > 1 {
		add("INTERVAL", strconv.Itoa(r.Interval))
	}
	for _, l := range []struct {
		key  string
		list []int
	}{
		{"BYMONTH", r.ByMonth}, {"BYWEEKNO", r.ByWeekNo}, {"BYYEARDAY", r.ByYearDay}, {"BYMONTHDAY", r.ByMonthDay},
		{"BYDAY", nil}, {"BYHOUR", r.ByHour}, {"BYMINUTE", r.ByMinute}, {"BYSECOND", r.BySecond}, {"BYSETPOS", r.BySetPos},
	} {
		var parts []string
		for _, n := range l.list {
			parts = append(parts, strconv.Itoa(n))
		}
		if l.key == "BYDAY" {
			for _, w := range r.ByDay {
				parts = append(parts, w.String())
			}
		}
		if len(parts) > 0 {
			add(l.key, strings.Join(parts, ","))
		}
	}
	if r.WeekStart != time.Monday {
		add("WKST", weekdays[r.WeekStart])
	}
	return string(b)
}
