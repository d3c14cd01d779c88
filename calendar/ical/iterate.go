package ical

import (
	"math/bits"
	"slices"
	"sort"
)

// iterator yields the walls of one rule, in order, without repeats.
//
// What it keeps:
//
//  1. DTSTART is the first instance and counts as one, whether or not the rule
//     would have made it (RFC 5545, section 3.8.5.3), unless noStart is set.
//  2. A period's instances are its days times its times of day. The product is
//     never laid out: an instance is found by its number, so that a rule with
//     every second of a year costs no more memory than others.
//  3. Each period looked at and each instance yielded takes a step from a budget
//     shared by all rules of a call. When it is used up, the iterator ends and
//     says so.
//  4. A rule without COUNT starts at the period of the wall that was asked for. So
//     does one with COUNT if every period has exactly one instance.
type iterator struct {
	r     *Rule
	start int64 // DTSTART's wall
	days  daySet
	hours uint32 // bits; 0: all, for frequencies below a day
	mins  uint64
	secs  uint64
	unit  int64 // seconds of a period below a week, else 0
	base  int64 // where period 0 begins, for frequencies of a week and less
	every int64 // the interval

	period  int64
	left    int // instances left by COUNT; -1: no end
	begun   bool
	noStart bool
	after   int64 // instances up to here are not yielded
	budget  *int

	// the present period
	list  []int64 // its days
	times []int64 // seconds after a day's beginning, or after base
	pos   []int   // the numbers that BYSETPOS leaves; nil: all
	idx   int
}

func newIterator(r *Rule, start int64, allDay bool, budget *int) *iterator {
	it := &iterator{r: r, start: start, left: -1, every: max(int64(r.Interval), 1), budget: budget, after: start}
	day := dayOf(start)
	it.days = newDaySet(r, day)
	if r.Count > 0 {
		it.left = r.Count
	}
	it.base = day * daySeconds
	switch r.Freq {
	case Weekly:
		it.unit = 7 * daySeconds
		it.base -= int64((weekday(day)-int(r.WeekStart)+7)%7) * daySeconds
	case Daily:
		it.unit = daySeconds
	case Hourly:
		it.unit = 3600
		it.base = start - (start%3600+3600)%3600
	case Minutely:
		it.unit = 60
		it.base = start - (start%60+60)%60
	case Secondly:
		it.unit = 1
		it.base = start
	}
	it.setTimes(allDay)
	return it
}

// setTimes works out the times of day. Those parts of a rule that are about time
// do not count for dates.
func (it *iterator) setTimes(allDay bool) {
	r := it.r
	if allDay {
		it.times = []int64{0}
		return
	}
	tod := timeOfDay(it.start)
	h := timeList(r.ByHour, tod/3600, r.Freq < Hourly)
	m := timeList(r.ByMinute, tod/60%60, r.Freq < Minutely)
	s := timeList(r.BySecond, tod%60, r.Freq < Secondly)
	if len(r.BySecond) > 0 && len(s) == 0 {
		return // no times, no instances
	}
	for _, n := range h {
		it.hours |= 1 << n
	}
	for _, n := range m {
		it.mins |= 1 << n
	}
	for _, n := range s {
		it.secs |= 1 << n
	}
	// What the period itself fixes is not part of the product.
	switch r.Freq {
	case Hourly:
		h = []int64{0}
	case Minutely:
		h, m = []int64{0}, []int64{0}
	case Secondly:
		h, m, s = []int64{0}, []int64{0}, []int64{0}
	}
	for _, a := range h {
		for _, b := range m {
			for _, c := range s {
				it.times = append(it.times, a*3600+b*60+c)
			}
		}
	}
}

// timeList is one of BYHOUR, BYMINUTE, BYSECOND in order, or what DTSTART has if
// it is needed. The 60th second never comes on a clock without leap seconds.
func timeList(by []int, start int64, needed bool) []int64 {
	if len(by) == 0 {
		if needed {
			return []int64{start}
		}
		return nil
	}
	var out []int64
	for _, n := range by {
		if n < 60 {
			out = append(out, int64(n))
		}
	}
	slices.Sort(out)
	return out
}

// onePerPeriod says that every period has exactly one instance.
func (it *iterator) onePerPeriod() bool {
	r := it.r
	return r.Freq >= Weekly && len(r.BySecond)+len(r.ByMinute)+len(r.ByHour)+len(r.ByDay)+
		len(r.ByMonthDay)+len(r.ByYearDay)+len(r.ByWeekNo)+len(r.ByMonth)+len(r.BySetPos) == 0
}

// seek skips what lies before a wall, as far as that is cheap: earlier instances
// may still be yielded. It is called before next.
func (it *iterator) seek(wall int64) {
	if wall <= it.start || it.left >= 0 && !it.onePerPeriod() {
		return
	}
	wall = min(wall, maxWall)
	if it.left < 0 {
		it.after = max(it.after, wall-1)
	}
	var p int64
	y0, m0, _ := civil(dayOf(it.start))
	y, m, _ := civil(dayOf(wall))
	switch it.r.Freq {
	case Yearly:
		p = int64(y-y0) / it.every
	case Monthly:
		p = int64(y*12+m-y0*12-m0) / it.every
	default:
		p = (wall - it.base) / it.unit / it.every
	}
	if p <= 0 {
		return
	}
	it.begun = true
	it.period = p
	if it.left >= 0 {
		// Instance number p is that of period p; DTSTART is number 0.
		it.left = int(max(int64(it.left)-p, 0))
	}
}

// spend takes a step from the budget.
func (it *iterator) spend() bool {
	*it.budget--
	return *it.budget >= 0
}

// exhausted reports that the budget, not the rule, ended the iteration.
func (it *iterator) exhausted() bool { return *it.budget < 0 }

// next returns the next instance that is not after limit, which is the same for
// all calls.
func (it *iterator) next(limit int64) (wall int64, ok bool) {
	if it.left == 0 || !it.spend() {
		return 0, false
	}
	if !it.begun && !it.noStart {
		it.begun = true
		it.count()
		return it.start, it.start <= limit
	}
	for {
		for n := it.len(); it.idx < n; {
			wall := it.at(it.idx)
			it.idx++
			if wall <= it.after {
				continue
			}
			if wall > limit {
				return 0, false
			}
			it.count()
			return wall, true
		}
		if !it.fill(min(limit, maxWall)) {
			return 0, false
		}
	}
}

func (it *iterator) count() {
	if it.left > 0 {
		it.left--
	}
}

func (it *iterator) len() int {
	if it.pos != nil {
		return len(it.pos)
	}
	return len(it.list) * len(it.times)
}

func (it *iterator) at(i int) int64 {
	if it.pos != nil {
		i = it.pos[i]
	}
	return it.list[i/len(it.times)] + it.times[i%len(it.times)]
}

// fill lays out the next period that has instances. The list holds walls: where
// its days, or for shorter periods the period itself, begin.
func (it *iterator) fill(limit int64) bool {
	for {
		if !it.spend() {
			return false
		}
		it.list, it.idx, it.pos = it.list[:0], 0, nil
		begins, ok := it.layOut()
		if !ok || begins > limit {
			return false
		}
		it.period++
		if len(it.times) == 0 {
			return false
		}
		if len(it.list) == 0 {
			continue
		}
		if len(it.r.BySetPos) > 0 {
			it.pick()
		} else {
			it.idx = sort.Search(it.len(), func(i int) bool { return it.at(i) > it.after })
		}
		return true
	}
}

// layOut puts the days of the present period into the list and returns where the
// period begins. ok is false when the calendar has ended.
func (it *iterator) layOut() (begins int64, ok bool) {
	y0, m0, _ := civil(dayOf(it.start))
	if it.r.Freq <= Monthly {
		months := it.period * it.every
		if it.r.Freq == Yearly {
			months *= 12
			m0 = 1
		}
		months += int64(y0)*12 + int64(m0-1)
		y, m := months/12, int(months%12)+1
		if y > 9999 {
			return 0, false
		}
		if it.r.Freq == Yearly {
			for m := 1; m <= 12; m++ {
				it.addMonth(int(y), m)
			}
		} else {
			it.addMonth(int(y), m)
		}
		return dayNumber(int(y), m, 1) * daySeconds, true
	}
	if it.r.Freq >= Hourly {
		return it.layOutTime()
	}
	begins, ok = it.begins(it.period)
	if !ok {
		return 0, false
	}
	day := dayOf(begins)
	for n := it.unit / daySeconds; n > 0; n-- {
		if it.days.has(day) {
			it.list = append(it.list, day*daySeconds)
		}
		day++
	}
	return begins, true
}

func (it *iterator) addMonth(y, m int) {
	if !it.days.hasMonth(m) {
		return
	}
	from := len(it.list)
	it.list = it.days.appendMonth(it.list, y, m)
	for i := range it.list[from:] {
		it.list[from+i] *= daySeconds
	}
}

// begins is where a period of a week or less begins.
func (it *iterator) begins(p int64) (int64, bool) {
	if p > (maxWall-it.base)/it.unit/it.every {
		return 0, false
	}
	return it.base + p*it.unit*it.every, true
}

// layOutTime is layOut for hours, minutes and seconds. Instead of looking at each
// period it goes on to the next one that can match: a day, an hour, a minute away.
func (it *iterator) layOutTime() (begins int64, ok bool) {
	t, ok := it.begins(it.period)
	if !ok {
		return 0, false
	}
	day := dayOf(t)
	tod := t - day*daySeconds
	next := t
	switch {
	case !it.days.has(day):
		next = (day + 1) * daySeconds
		if y, m, _ := civil(day); !it.days.hasMonth(m) {
			next = dayNumber(y, m, daysIn(y, m))*daySeconds + daySeconds
		}
	case it.hours != 0 && it.hours&(1<<(tod/3600)) == 0:
		next = t - tod%3600 + 3600
	case it.r.Freq >= Minutely && it.mins != 0 && it.mins&(1<<(tod/60%60)) == 0:
		next = t - tod%60 + 60
	case it.r.Freq == Secondly && it.secs != 0 && it.secs&(1<<(tod%60)) == 0:
		sec := tod % 60
		next = t - sec + 60
		if later := it.secs >> sec; later != 0 {
			next = t + int64(bits.TrailingZeros64(later))
		}
	default:
		it.list = append(it.list, t)
		return t, true
	}
	// The last period before next; fill adds one.
	step := it.unit * it.every
	it.period = max(it.period, (next-it.base+step-1)/step-1)
	return t, true
}

// pick keeps the instances of the period that BYSETPOS names.
func (it *iterator) pick() {
	n := len(it.list) * len(it.times)
	it.pos = []int{}
	for _, p := range it.r.BySetPos {
		if p < 0 {
			p += n
		} else {
			p--
		}
		if p >= 0 && p < n {
			it.pos = append(it.pos, p)
		}
	}
	slices.Sort(it.pos)
	it.pos = slices.Compact(it.pos)
}
