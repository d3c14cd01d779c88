package main

import (
	"fmt"
	"slices"
	"time"
)

// alternate calls the functions in turn, so many rounds and one before that is not
// counted, and returns the median of each.
func alternate(rounds int, calls []func(round int) error) ([]time.Duration, error) {
	took := make([][]time.Duration, len(calls))
	for round := range rounds + 1 {
		for i, call := range calls {
			begin := time.Now()
			if err := call(round); err != nil {
				return nil, err
			}
			if round > 0 {
				took[i] = append(took[i], time.Since(begin))
			}
		}
	}
	medians := make([]time.Duration, len(calls))
	for i := range took {
		medians[i] = median(took[i])
	}
	return medians, nil
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}

// milliseconds has three digits that count.
func milliseconds(d time.Duration) string {
	ms := d.Seconds() * 1000
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.3f ms", ms)
}

// times says how many times as long a took as b.
func times(a, b time.Duration) string { return factor(float64(a) / float64(b)) }

func factor(f float64) string {
	if f >= 10 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.2g", f)
}
