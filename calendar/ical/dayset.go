package ical

import "math/bits"

// daySet is the part of a rule that is about days: which days of a period belong
// to the recurrence. Lists become bit sets, so that a day costs a few operations.
type daySet struct {
	months           uint16 // bit m; 0: all
	monthDays        uint32 // bit d; both masks 0: all
	monthDaysBack    uint32 // bit d: the d-th from the end
	yearDays         *[6]uint64
	yearDaysBack     *[6]uint64
	weeks, weeksBack uint64 // bit n; both masks 0: all
	weekdays         uint8  // bit per weekday
	nth              []WeekdayNum
	anyDay           bool // no BYDAY
	nthOfYear        bool // nth counts in the year, not in the month
	weekStart        int
	plain            bool // nothing but weekdays is asked for
}

func newDaySet(r *Rule, startDay int64) daySet {
	s := daySet{weekStart: int(r.WeekStart)}
	for _, m := range r.ByMonth {
		s.months |= 1 << m
	}
	for _, d := range r.ByMonthDay {
		if d > 0 {
			s.monthDays |= 1 << d
		} else {
			s.monthDaysBack |= 1 << -d
		}
	}
	if len(r.ByYearDay) > 0 {
		s.yearDays, s.yearDaysBack = new([6]uint64), new([6]uint64)
		for _, d := range r.ByYearDay {
			if d > 0 {
				s.yearDays[d/64] |= 1 << (d % 64)
			} else {
				s.yearDaysBack[-d/64] |= 1 << (-d % 64)
			}
		}
	}
	for _, n := range r.ByWeekNo {
		if n > 0 {
			s.weeks |= 1 << n
		} else {
			s.weeksBack |= 1 << -n
		}
	}
	for _, w := range r.ByDay {
		// Numbers mean something in months and years only, and not within weeks.
		if w.N == 0 || r.Freq > Monthly || len(r.ByWeekNo) > 0 {
			s.weekdays |= 1 << w.Day
		} else {
			s.nth = append(s.nth, w)
		}
	}
	s.nthOfYear = r.Freq == Yearly && len(r.ByMonth) == 0
	s.anyDay = len(r.ByDay) == 0
	s.fillIn(r, startDay)
	s.plain = s.months == 0 && s.monthDays|s.monthDaysBack == 0 && s.yearDays == nil &&
		s.weeks|s.weeksBack == 0 && len(s.nth) == 0
	return s
}

// fillIn takes from DTSTART what the rule does not say.
func (s *daySet) fillIn(r *Rule, startDay int64) {
	_, m, d := civil(startDay)
	days := len(r.ByMonthDay) + len(r.ByYearDay) + len(r.ByDay)
	switch {
	case r.Freq == Yearly && len(r.ByWeekNo) > 0 && days == 0, r.Freq == Weekly && len(r.ByDay) == 0:
		s.anyDay = false
		s.weekdays = 1 << weekday(startDay)
	case r.Freq == Yearly && days == 0:
		s.monthDays = 1 << d
		if len(r.ByMonth) == 0 {
			s.months = 1 << m
		}
	case r.Freq == Monthly && days == 0:
		s.monthDays = 1 << d
	}
}

func (s *daySet) hasMonth(m int) bool { return s.months == 0 || s.months&(1<<m) != 0 }

// has reports whether a day belongs.
func (s *daySet) has(day int64) bool {
	if s.plain {
		return s.anyDay || s.weekdays&(1<<weekday(day)) != 0
	}
	y, m, d := civil(day)
	return s.hasMonth(m) && s.candidates(y, m)&(1<<d) != 0 && s.rest(day, y, m, d)
}

// appendMonth appends the days of one month that belong.
func (s *daySet) appendMonth(dst []int64, y, m int) []int64 {
	first := dayNumber(y, m, 1)
	for c := s.candidates(y, m); c != 0; c &= c - 1 {
		d := bits.TrailingZeros32(c)
		if day := first + int64(d-1); s.rest(day, y, m, d) {
			dst = append(dst, day)
		}
	}
	return dst
}

// candidates are the days of a month that BYMONTHDAY leaves, as bits from 1.
func (s *daySet) candidates(y, m int) uint32 {
	n := daysIn(y, m)
	all := uint32(1)<<(n+1) - 2
	if s.monthDays|s.monthDaysBack == 0 {
		return all
	}
	back := uint32(0)
	for b := s.monthDaysBack; b != 0; b &= b - 1 {
		if d := n + 1 - bits.TrailingZeros32(b); d > 0 {
			back |= 1 << d
		}
	}
	return (s.monthDays | back) & all
}

// rest checks what BYMONTH and BYMONTHDAY have not.
func (s *daySet) rest(day int64, y, m, d int) bool {
	wd := weekday(day)
	if !s.anyDay && s.weekdays&(1<<wd) == 0 && !s.hasNth(wd, day, y, m, d) {
		return false
	}
	if s.yearDays != nil {
		n := int(day-dayNumber(y, 1, 1)) + 1
		back := daysInYear(y) + 1 - n
		if s.yearDays[n/64]&(1<<(n%64)) == 0 && s.yearDaysBack[back/64]&(1<<(back%64)) == 0 {
			return false
		}
	}
	return s.weeks|s.weeksBack == 0 || s.hasWeek(day, y)
}

func (s *daySet) hasNth(wd int, day int64, y, m, d int) bool {
	if len(s.nth) == 0 {
		return false
	}
	n, back := d, daysIn(y, m)-d
	if s.nthOfYear {
		n = int(day-dayNumber(y, 1, 1)) + 1
		back = daysInYear(y) - n
	}
	for _, w := range s.nth {
		if int(w.Day) == wd && (w.N == (n-1)/7+1 || w.N == -(back/7+1)) {
			return true
		}
	}
	return false
}

// hasWeek looks at the week's number in the year to which the week belongs: the
// first days of January may be in the last week of the year before.
func (s *daySet) hasWeek(day int64, y int) bool {
	first := s.firstWeek(y)
	if day < first {
		y--
		first = s.firstWeek(y)
	} else if next := s.firstWeek(y + 1); day >= next {
		y++
		first = next
	}
	n := int(day-first)/7 + 1
	total := int(s.firstWeek(y+1)-first) / 7
	return s.weeks&(1<<n) != 0 || s.weeksBack&(1<<(total+1-n)) != 0
}

// firstWeek is the first day of week 1: the first week with four days in the year.
func (s *daySet) firstWeek(y int) int64 {
	jan4 := dayNumber(y, 1, 4)
	return jan4 - int64((weekday(jan4)-s.weekStart+7)%7)
}
