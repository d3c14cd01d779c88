package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// median is the middle one by the given order; the lower of two. There must be one.
func median[T any](list []T, order func(a, b T) int) T {
	return slices.SortedFunc(slices.Values(list), order)[(len(list)-1)/2]
}

func byRate(a, b turn) int { return cmp.Compare(a.rate(), b.rate()) }

// count is a rounded number with three digits that count.
func count(f float64) string {
	n := int64(f + 0.5)
	for unit := int64(1000); n >= unit; unit *= 10 {
		if n < unit*10 {
			step := unit / 100
			n = (n + step/2) / step * step
			break
		}
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// milliseconds has about two digits that count.
func milliseconds(d time.Duration) string {
	ms := d.Seconds() * 1000
	switch {
	case ms >= 10:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.2f", ms)
}

func megabytes(n int64) string {
	if n < 10e6 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f MB", float64(n)/1e6)
}
