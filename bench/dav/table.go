package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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

// table is a Markdown table: words on the left, figures on the right.
type table struct {
	title string
	rows  [][]string
}

func newTable(title, what string, columns ...string) *table {
	rule := []string{"---"}
	for range columns {
		rule = append(rule, "---:")
	}
	return &table{title, [][]string{append([]string{what}, columns...), rule}}
}

func (t *table) row(what string, cells ...string) {
	t.rows = append(t.rows, append([]string{what}, cells...))
}

func (t *table) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n\n", t.title)
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for _, cells := range t.rows {
		fmt.Fprintln(tw, "| "+strings.Join(cells, "\t| ")+"\t|")
	}
	return tw.Flush()
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
