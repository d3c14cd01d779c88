// Mcp measures the calendar worker over MCP beside the bare SDK on the same machine in one
// run: tools called by 1, 16 and 64 clients at once, and what many open sessions of the older
// eras cost in memory and at a restart. It prints Markdown tables.
//
//	go run ./bench/mcp
//
// "Bare" is a server of the Go SDK with one tool that does nothing, without users,
// storage or calendars: the floor. Each server is a process of its own, on loopback. Their
// turns alternate within each round; figures are medians of the rounds, a first round is not counted.
// Calendars are on a CalDAV server in the process that measures, so that they are
// cached ones to the worker: after the first question it is not asked. docs/mcp.md says what
// came of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/perdure/perdure/bench/internal/report"
)

// bench is one run.
type bench struct {
	out      io.Writer
	dir      string // for all data; deleted afterwards
	caldav   string // address
	rounds   int
	length   time.Duration // of a measurement
	clients  []int
	sessions int
	idle     time.Duration // how long sessions rest before their memory is measured
}

func main() {
	rounds := flag.Int("rounds", 5, "rounds of each measurement")
	length := flag.Duration("length", 2*time.Second, "how long each lasts")
	sessions := flag.Int("sessions", 10_000, "how many sessions are opened")
	only := flag.String("only", "", "the one part to run: calls or sessions; both by default")
	serve := flag.String("serve", "", "serve; used by the program itself")
	dir := flag.String("dir", "", "where the served data is")
	caldav := flag.String("caldav", "", "address of the served calendars")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var err error
	switch *serve {
	case "own":
		err = serveOwn(ctx, *dir, *caldav)
	case "bare":
		err = serveBare(ctx)
	default:
		b := &bench{out: os.Stdout, rounds: *rounds, length: *length, clients: []int{1, 16, 64}, sessions: *sessions, idle: 30 * time.Second}
		err = b.run(ctx, *only)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func (b *bench) run(ctx context.Context, only string) (err error) {
	if b.rounds < 1 || b.sessions < 1 {
		return errors.New("too few rounds or sessions")
	}
	if b.dir, err = os.MkdirTemp("", "mcp-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	stop, err := b.startCalDAV(ctx)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(b.out, "%s; %d rounds of %v\n", report.Machine(), b.rounds, b.length)
	return report.Run(ctx, only,
		report.Part{Name: "calls", Run: b.calls},
		report.Part{Name: "sessions", Run: b.open},
	)
}
