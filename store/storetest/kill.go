package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/perdure/perdure/store"
)

// killDir tells a test binary that it is the child of Kill, and where to write.
const killDir = "PERDURE_STORETEST_KILL_DIR"

const killWriters = 32

// Child is called first thing in the TestMain of an engine whose tests call Kill.
// In the process that Kill starts it does not return.
func Child(open func(dir string) (store.Store, error)) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return
	}
	fmt.Fprintln(os.Stderr, child(dir, open))
	os.Exit(1)
}

// child commits for ever and prints each number that is durable.
func child(dir string, open func(dir string) (store.Store, error)) error {
	s, err := open(dir)
	if err != nil {
		return err
	}
	c := newCounters(s, killWriters)
	var wg sync.WaitGroup
	for i := range killWriters {
		l, err := s.Load(ctx, c.ws[i].o)
		if err != nil {
			return err
		}
		if c.ws[i].h = l.Header; l.Header != nil {
			c.issued[i].Store(l.Header.Size)
		}
	}
	for i := range killWriters {
		wg.Go(func() {
			for {
				n, commit := c.next(i, 100)
				if err := commit.Wait(); err != nil {
					fmt.Fprintln(os.Stderr, "stopped:", err)
					return
				}
				// One write, shorter than a pipe keeps whole.
				fmt.Fprintf(os.Stdout, "%d %d\n", i, n)
			}
		})
	}
	wg.Wait()
	return errors.New("stopped")
}

// Kill has a child process commit under load to dir, kills it at a random moment,
// and checks what it left, for a number of rounds on the same directory.
func Kill(t *testing.T, dir string, rounds int, open func(dir string) (store.Store, error)) {
	r := random(t)
	acked := make([]int64, killWriters)
	total := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), killDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		// Kill at the n-th line, then read what was printed until then.
		n := 1 + r.IntN(4000)
		for seen := 1; lines.Scan(); seen++ {
			if seen == n {
				cmd.Process.Kill()
			}
			var i int
			var number int64
			// A line that the kill cut off is not an acknowledgement.
			if _, err := fmt.Sscanf(lines.Text()+"|", "%d %d|", &i, &number); err != nil {
				continue
			}
			acked[i] = max(acked[i], number)
			total++
		}
		cmd.Wait() // it was killed
		s, err := open(dir)
		if err != nil {
			t.Fatalf("round %d: open: %v", round, err)
		}
		issued := make([]int64, killWriters)
		for i := range issued {
			issued[i] = acked[i] + 1 // one batch at a time
		}
		checkCounters(t, s, acked, issued)
		for i := range acked {
			if acked[i], err = checkCounter(s, i); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("round %d: Close() = %v", round, err)
		}
		if t.Failed() {
			t.Fatalf("round %d of %d, killed after line %d", round, rounds, n)
		}
	}
	t.Log(strconv.Itoa(total) + " acknowledged batches")
}
