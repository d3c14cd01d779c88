package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// atOnce is how many clients open sessions, or come back, at the same time.
const atOnce = 32

// open measures many open sessions.
func (b *bench) open(ctx context.Context) error {
	fmt.Fprintf(b.out, "\n%d sessions of %s\n\n| | perdure | bare SDK |\n| --- | ---: | ---: |\n", b.sessions, oldEra)
	var columns [2][]string
	for i, kind := range []string{"own", "bare"} {
		var err error
		if columns[i], err = b.openAt(ctx, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	for i, what := range []string{
		"memory of the process before, resident", "to open them", "memory a session, each with its stream open: heap and stacks", "the same, resident",
		fmt.Sprintf("memory a session, streams closed for %v: heap and stacks", b.idle), "the same, resident",
		"after kill -9: until the process listens", "until a first session has answered a ping", "until all have",
	} {
		fmt.Fprintf(b.out, "| %s | %s | %s |\n", what, columns[0][i], columns[1][i])
	}
	return nil
}

func (b *bench) openAt(ctx context.Context, kind string) (out []string, err error) {
	dir := filepath.Join(b.dir, "sessions-"+kind)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p, err := b.start(ctx, kind, dir)
	if err != nil {
		return nil, err
	}
	defer func() { p.kill() }()
	before, err := p.memory(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, fmt.Sprintf("%.0f MiB", mib(before.Resident)))

	clients, streams := make([]*client, b.sessions), make([]net.Conn, b.sessions)
	begin := time.Now()
	err = each(b.sessions, func(i int) (err error) {
		if clients[i], err = p.connect(ctx, oldEra, i); err != nil {
			return err
		}
		streams[i], err = clients[i].listen()
		return err
	})
	if err != nil {
		return nil, err
	}
	out = append(out, fmt.Sprintf("%.1f s", time.Since(begin).Seconds()))
	perSession := func() error {
		now, err := p.memory(ctx)
		n := int64(b.sessions)
		out = append(out, fmt.Sprintf("%.1f KiB", float64(now.Heap+now.Stacks-before.Heap-before.Stacks)/float64(n)/1024),
			fmt.Sprintf("%.1f KiB", float64(now.Resident-before.Resident)/float64(n)/1024))
		return err
	}
	if err := perSession(); err != nil {
		return nil, err
	}
	for _, conn := range streams {
		conn.Close()
	}
	select {
	case <-time.After(b.idle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := perSession(); err != nil {
		return nil, err
	}

	p.kill()
	if kind == "bare" {
		return append(out, "–", "all are lost", "–"), nil
	}
	begin = time.Now()
	since := func() { out = append(out, fmt.Sprintf("%.2f s", time.Since(begin).Seconds())) }
	if err := p.again(ctx); err != nil {
		return nil, err
	}
	since()
	ping := func(i int) error {
		_, err := clients[i].send(ctx, "ping", "{}", "")
		return err
	}
	if err := ping(0); err != nil {
		return nil, err
	}
	since()
	if err := each(b.sessions, ping); err != nil {
		return nil, err
	}
	since()
	return out, nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// each calls do for 0 to n-1, several at a time.
func each(n int, do func(i int) error) error {
	var next atomic.Int64
	var once sync.Once
	var failed error
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !stop.Load(); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					once.Do(func() { failed = err })
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return failed
}
