// Package report is what the programs that measure have in common: parts that can be run
// alone, tables in Markdown, and on what machine it was.
package report

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// Part is one of the things that a program measures.
type Part struct {
	Name string
	Run  func(context.Context) error
}

// Run runs the parts in order, or only the named one.
func Run(ctx context.Context, only string, parts ...Part) error {
	known := only == ""
	for _, p := range parts {
		if only != "" && only != p.Name {
			continue
		}
		known = true
		if err := p.Run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	if !known {
		return fmt.Errorf("there is no part %q", only)
	}
	return nil
}

// Machine is Go's version, the number of processors and, where the system tells, their name.
func Machine() string {
	return fmt.Sprintf("%s, %d CPUs, %s", runtime.Version(), runtime.NumCPU(), processor())
}

func processor() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

// Table is a Markdown table: words on the left, figures on the right.
type Table struct {
	title string
	rows  [][]string
}

// NewTable returns a table whose first column says what the rows are about.
func NewTable(title, what string, columns ...string) *Table {
	rule := []string{"---"}
	for range columns {
		rule = append(rule, "---:")
	}
	return &Table{title, [][]string{append([]string{what}, columns...), rule}}
}

// Row adds a row.
func (t *Table) Row(what string, cells ...string) {
	t.rows = append(t.rows, append([]string{what}, cells...))
}

// Print writes the table under its title.
func (t *Table) Print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n\n", t.title)
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for _, cells := range t.rows {
		fmt.Fprintln(tw, "| "+strings.Join(cells, "\t| ")+"\t|")
	}
	return tw.Flush()
}
