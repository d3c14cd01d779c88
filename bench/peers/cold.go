package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/perdure/perdure/bench/internal/report"
)

// sweepers is how many clients share out the objects of a sweep.
const sweepers = 16

// sweep asks each of the first n objects once.
func (s *server) sweep(ctx context.Context, operation string, n int) (result, error) {
	l := load{addr: s.at, clients: sweepers, turns: n / sweepers, request: func(client, turn int) []byte {
		return s.request(operation, fmt.Sprint("cold", turn*sweepers+client))
	}}
	return l.run(ctx)
}

// cold measures making many objects, starting again after kill -9, and waking them.
func (b *bench) cold(ctx context.Context) error {
	var names []string
	var columns [][]string
	for _, s := range append([]*server{b.objects, b.perdure}, b.workerds...) {
		cells, err := b.coldServer(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		names = append(names, s.name)
		columns = append(columns, cells)
	}
	t := report.NewTable("Many objects", "", names...)
	for i, what := range []string{
		"a new process: memory",
		fmt.Sprintf("first write of %d objects, a second", b.many), "then: memory", "then: open files", "then: on disk",
		"kill -9, milliseconds until an answer",
		fmt.Sprintf("first get of %d objects, a second", b.woken), "then: memory", "then: open files",
	} {
		var cells []string
		for _, c := range columns {
			cells = append(cells, c[i])
		}
		t.Row(what, cells...)
	}
	return t.Print(b.out)
}

// coldServer returns the cells of the server's column.
func (b *bench) coldServer(ctx context.Context, s *server) (cells []string, err error) {
	dir := b.newFolder()
	if err := s.start(dir); err != nil {
		return nil, err
	}
	defer func() { s.end(syscall.SIGTERM) }()
	memory := func() {
		m, merr := s.resident()
		n, ferr := s.files()
		err = errors.Join(err, merr, ferr)
		cells = append(cells, megabytes(m), count(float64(n)))
	}
	if _, err := s.ask(ctx, s.request("inc", "first")); err != nil {
		return nil, err
	}
	fresh, err := s.resident()
	if err != nil {
		return nil, err
	}
	made, err := s.sweep(ctx, "inc", b.many)
	if err != nil {
		return nil, err
	}
	cells = append(cells, megabytes(fresh), count(made.rate()))
	if memory(); err != nil {
		return nil, err
	}
	size, err := s.stored()
	if err != nil {
		return nil, err
	}
	cells = append(cells, megabytes(size))
	var starts []time.Duration
	for range b.rounds {
		took, err := b.restart(ctx, s, dir)
		if err != nil {
			return nil, err
		}
		starts = append(starts, took)
	}
	cells = append(cells, milliseconds(median(starts, cmp.Compare[time.Duration])))
	woken, err := s.sweep(ctx, "get", b.woken)
	if err != nil {
		return nil, err
	}
	cells = append(cells, count(woken.rate()))
	memory()
	return cells, err
}

// restart kills the server and returns how long the next process takes until it has
// answered with what the last one stored.
func (b *bench) restart(ctx context.Context, s *server, dir string) (time.Duration, error) {
	s.end(syscall.SIGKILL)
	begin := time.Now()
	if err := s.start(dir); err != nil {
		return 0, err
	}
	body, err := s.ask(ctx, s.request("get", "first"))
	took := time.Since(begin)
	if err == nil && !strings.Contains(body, s.kept) {
		err = fmt.Errorf("after kill -9 the first object is %q, which lacks %s", body, s.kept)
	}
	return took, err
}
