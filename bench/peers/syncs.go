package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/perdure/perdure/bench/internal/report"
)

// syncs counts the calls that make a disk keep what it has, for as many increments,
// starting and stopping the server included.
func (b *bench) syncs(ctx context.Context) error {
	t := report.NewTable(fmt.Sprintf("fsync and fdatasync calls for %d increments of one object", b.traced), "", "1 client", "64 clients")
	for _, s := range append(append([]*server{b.objects}, b.workerds...), b.bolts...) {
		var cells []string
		for _, clients := range []int{1, 64} {
			n, err := b.traceServer(ctx, s, clients)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			cells = append(cells, fmt.Sprint(n))
		}
		t.Row(s.name, cells...)
	}
	return t.Print(b.out)
}

func (b *bench) traceServer(ctx context.Context, s *server, clients int) (int, error) {
	dir := b.newFolder()
	file := filepath.Join(b.dir, filepath.Base(dir)+".strace")
	// -D: the process is the server's, the tracer stands aside. Calls that are not counted
	// do not stop (seccomp), or else the server would be too slow to have anything to group.
	if err := s.start(dir, "strace", "-D", "-f", "--seccomp-bpf", "-c", "-e", "trace=fsync,fdatasync", "-o", file); err != nil {
		return 0, err
	}
	l := load{addr: s.at, clients: clients, turns: b.traced / clients, request: func(int, int) []byte { return s.request("inc", "hot") }}
	_, err := l.run(ctx)
	s.end(syscall.SIGTERM)
	if err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		if n, ok := syncsIn(string(data)); ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("strace has written nothing to %s", file)
}

// syncsIn reads the total of strace -c: "100.00  0.005  12  401  2 total", errors left out if there are none.
func syncsIn(summary string) (n int, ok bool) {
	for line := range strings.Lines(summary) {
		fields := strings.Fields(line)
		if len(fields) >= 5 && fields[len(fields)-1] == "total" {
			n, err := strconv.Atoi(fields[3])
			return n, err == nil
		}
	}
	return 0, false
}
