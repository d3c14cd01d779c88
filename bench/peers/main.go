// Peers measures durable objects on one machine in one run beside what others would use:
// workerd, the runtime of JavaScript Durable Objects; bbolt behind net/http; and net/http
// alone, the floor. It prints Markdown tables.
//
//	cd bench/peers && npm ci && cd ../..   # workerd, for those who want it measured
//	go run ./bench/peers
//
// It runs on Linux, as it reads /proc. Every server is a process of its own, listens on
// loopback, and gets the same requests from the same client. Their turns alternate within
// each round, so that what else the machine does falls on all. Figures are those of the
// round whose rate is the median, or with -best the highest; a first, short round is not
// counted. A run fails if a server has lost an increment that it answered. workerd keeps
// three files open for each object in memory: ulimit -n 20000 is enough for the default
// numbers. docs/design.md says what came of it.
//
// Parts, for -only: rates, sessions, cold (many objects), syncs (needs strace).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/perdure/perdure/bench/internal/report"
)

// bench is one run.
type bench struct {
	out    io.Writer
	rounds int
	best   bool          // print each server's best turn, not the median
	length time.Duration // of a turn
	owners []int         // numbers of clients that have an object each, ascending
	crowds []int         // numbers of clients that share one
	many   int           // objects made; like woken and traced a multiple of the clients
	woken  int
	traced int // increments

	dir      string // for all data; deleted afterwards
	folders  int
	started  []*server
	bare     *server
	objects  *server
	perdure  *server   // nil where no part needs it
	workerds []*server // none: not installed
	bolts    []*server
}

func main() {
	b := &bench{out: os.Stdout, owners: []int{1, 16, 64, 256}, crowds: []int{16, 64}}
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each measurement")
	flag.BoolVar(&b.best, "best", false, "print each server's best round, not the median: for a machine with other work on it")
	flag.DurationVar(&b.length, "length", time.Second, "length of a server's turn")
	flag.IntVar(&b.many, "many", 10_000, "objects made in part cold")
	flag.IntVar(&b.woken, "woken", 5_000, "objects woken in part cold")
	flag.IntVar(&b.traced, "traced", 2048, "increments in part syncs")
	only := flag.String("only", "", "the one part to run: rates, sessions, cold or syncs; all by default")
	program := flag.String("workerd", findWorkerd(), "workerd's program")
	serve := flag.String("serve", "", "serve instead: bare, objects, bolt or bolt-batch")
	data := flag.String("data", "", "folder for the data of -serve")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var err error
	if *serve != "" {
		err = serveKind(ctx, *serve, *data)
	} else {
		err = b.run(ctx, *only, *program)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func (b *bench) run(ctx context.Context, only, program string) (err error) {
	if b.dir, err = os.MkdirTemp("", "peers-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.bare, b.objects = own("net/http", "bare"), own("objects", "objects")
	b.bolts = []*server{own("bbolt, Update", "bolt"), own("bbolt, Batch in 1 ms", "bolt-batch")}
	if program != "" {
		for _, w := range [][2]string{{"workerd, SQL", "/sql"}, {"workerd, legacy", "/legacy"}} {
			s, err := workerd(program, b.dir, w[0], w[1])
			if err != nil {
				return err
			}
			b.workerds = append(b.workerds, s)
		}
	} else {
		fmt.Fprintln(b.out, "workerd is not installed: npm ci in bench/peers")
	}
	if only == "" || only == "sessions" || only == "cold" {
		if b.perdure, err = perdure(ctx, b.dir); err != nil {
			return err
		}
	}
	b.header(b.out)
	return report.Run(ctx, only,
		report.Part{Name: "rates", Run: b.rates},
		report.Part{Name: "sessions", Run: b.sessions},
		report.Part{Name: "cold", Run: b.cold},
		report.Part{Name: "syncs", Run: b.syncs},
	)
}

func (b *bench) newFolder() string {
	b.folders++
	return filepath.Join(b.dir, fmt.Sprint("data", b.folders))
}
