// Dav measures the calendar part on one machine in one run: our CalDAV server beside
// Radicale on the same requests, and calendar.Service beside the same questions asked
// without it, on a calendar of 5,000 events. It prints Markdown tables.
//
//	go run ./bench/dav
//
// Radicale is the program of that name in the PATH (a Debian package); without it its
// columns are left out. Both servers listen on loopback, ask for Basic auth, and sync
// what they store. Their turns alternate within each round, so that what else the
// machine does falls on both. Figures are medians of the rounds; a first round is not
// counted. docs/calendar.md says what came of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/perdure/perdure/bench/internal/report"
)

// bench is one run.
type bench struct {
	events  int
	rounds  int
	dir     string // for all data; deleted afterwards
	out     io.Writer
	servers []*server
}

func main() {
	events := flag.Int("events", 5000, "events of the calendar; at least 200")
	rounds := flag.Int("rounds", 7, "rounds of each measurement")
	only := flag.String("only", "", "the one part to run: expansions, memory, service or requests; all by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *events, *rounds, *only); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, events, rounds int, only string) (err error) {
	if events < 200 || rounds < 1 {
		return fmt.Errorf("%d events and %d rounds are too few", events, rounds)
	}
	dir, err := os.MkdirTemp("", "dav-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{events: events, rounds: rounds, dir: dir, out: out}
	defer func() {
		for _, s := range b.servers {
			s.stop()
		}
	}()
	for _, start := range []func(context.Context) (*server, error){b.startOwn, b.startRadicale} {
		s, err := start(ctx)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		b.servers = append(b.servers, s)
		if err := b.fill(ctx, s); err != nil {
			return fmt.Errorf("fill %s: %w", s.name, err)
		}
	}
	fmt.Fprintf(out, "%s; %d events, %d rounds\n", report.Machine(), events, rounds)
	return report.Run(ctx, only,
		report.Part{Name: "expansions", Run: b.expansions},
		report.Part{Name: "memory", Run: b.memory},
		report.Part{Name: "service", Run: b.service},
		report.Part{Name: "requests", Run: b.requests},
	)
}
