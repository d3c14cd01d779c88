package ical

import "time"

// Wall clock arithmetic. A wall is what a clock shows, as the seconds that a
// clock in UTC would have counted since 1970; a day is the number of days since
// then. Both are plain integers: recurrence rules are evaluated on them, and only
// what they yield is turned into an instant (see clock).

const (
	daySeconds = 86400
	minWall    = -62135596800 // 0001-01-01T00:00:00
	maxWall    = 253402300799 // 9999-12-31T23:59:59
)

// floorDiv rounds towards minus infinity.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func dayOf(wall int64) int64        { return floorDiv(wall, daySeconds) }
func timeOfDay(wall int64) int64    { return wall - dayOf(wall)*daySeconds }
func weekday(day int64) int         { return int(((day+4)%7 + 7) % 7) } // Sunday is 0
func isLeap(y int) bool             { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }
func wallOf(t time.Time) int64      { return t.Unix() } // t in UTC, read as a wall clock
func wallTime(wall int64) time.Time { return time.Unix(wall, 0).UTC() }

func daysIn(y, m int) int {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if isLeap(y) {
			return 29
		}
		return 28
	}
	return 31
}

func daysInYear(y int) int {
	if isLeap(y) {
		return 366
	}
	return 365
}

// dayNumber counts in years that begin in March, so that the leap day is the last.
func dayNumber(y, m, d int) int64 {
	if m <= 2 {
		y--
	}
	era := floorDiv(int64(y), 400)
	yoe := int64(y) - era*400
	doy := int64((153*((m+9)%12)+2)/5 + d - 1)
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

// civil is the inverse of dayNumber.
func civil(day int64) (y, m, d int) {
	z := day + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = int(doy - (153*mp+2)/5 + 1)
	m = int(mp) + 3
	y = int(yoe + era*400)
	if m > 12 {
		m -= 12
		y++
	}
	return y, m, d
}
