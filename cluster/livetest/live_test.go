package livetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// process is a node, one process after the other.
type process struct {
	name  string
	db    *link
	links []string // NAME=ADDR of the ways to the others

	cmd    *exec.Cmd
	front  atomic.Pointer[string] // where clients reach it
	peers  string                 // where other nodes reach it
	log    safeBuffer
	exited chan error
}

// safeBuffer is the log of a process.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// scene is the cluster under test.
type scene struct {
	t        *testing.T
	server   *pgtest.Server
	database string
	strict   bool
	nodes    []*process
	between  map[[2]int]*link // by from and to
	rng      *rand.Rand
	record   *record

	mu    sync.Mutex
	cells []string // all so far; guarded by mu
}

const groupSize = 6

// current are the cells that clients ask: each lives for two faults.
func (s *scene) current() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cells[max(len(s.cells)-2*groupSize, 0):]
}

func (s *scene) newCells() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range groupSize {
		s.cells = append(s.cells, fmt.Sprintf("cell-%d", len(s.cells)))
	}
}

func newScene(t *testing.T, strict bool, seed uint64) *scene {
	server := pgtest.New(t)
	s := &scene{t: t, server: server, database: server.NewDatabase(t), strict: strict, between: make(map[[2]int]*link), rng: rand.New(rand.NewPCG(seed, 0)), record: newRecord()}
	for i := range 3 {
		s.nodes = append(s.nodes, &process{name: fmt.Sprintf("node%d:1", i), db: newLink(t, server.Addr())})
	}
	for i, n := range s.nodes {
		for j, other := range s.nodes {
			if i != j {
				l := newLink(t, "")
				s.between[[2]int{i, j}] = l
				n.links = append(n.links, other.name+"="+l.addr())
			}
		}
	}
	for i := range s.nodes {
		s.start(i)
	}
	t.Cleanup(func() {
		for _, n := range s.nodes {
			n.cmd.Process.Signal(syscall.SIGCONT)
			n.cmd.Process.Kill()
			<-n.exited
		}
		if t.Failed() {
			for _, n := range s.nodes {
				text := n.log.String()
				t.Logf("%s:\n%s", n.name, text[max(len(text)-20_000, 0):])
			}
		}
	})
	return s
}

// start starts a node's process and waits until it listens.
func (s *scene) start(i int) {
	s.t.Helper()
	n := s.nodes[i]
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), "LIVETEST_NODE="+n.name, "LIVETEST_DSN="+s.server.DSN(n.db.addr(), s.database),
		"LIVETEST_LINKS="+strings.Join(n.links, " "), fmt.Sprintf("LIVETEST_STRICT=%v", s.strict))
	n.cmd.Stderr = &n.log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var peers, front string
	ready, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(ready, "ready %s %s", &peers, &front)
	}
	n.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan error) {
		exited <- cmd.Wait()
		close(exited)
	}(n.cmd, n.exited)
	if err != nil {
		s.t.Fatalf("%s did not start: %v\n%s", n.name, err, n.log.String())
	}
	n.peers = peers
	for j := range s.nodes {
		if l := s.between[[2]int{j, i}]; l != nil {
			l.set(func() { l.target = peers })
		}
	}
	n.front.Store(&front)
}

// await waits until all current cells have answered since a moment.
func (s *scene) await(what string, since time.Time) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !s.record.since(s.current(), since) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not all cells have answered within a minute", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settle waits until every shard has an owner, and each node some.
func (s *scene) settle() {
	s.t.Helper()
	conn := s.server.Connect(s.t, s.database)
	defer conn.Close(context.Background())
	deadline := time.Now().Add(time.Minute)
	for owners := 0; owners < len(s.nodes); time.Sleep(20 * time.Millisecond) {
		if err := conn.QueryRow(context.Background(), `SELECT count(DISTINCT owner) FROM perdure.shards s JOIN perdure.nodes n ON n.id = s.owner
			WHERE NOT n.ended AND NOT EXISTS (SELECT FROM perdure.shards WHERE owner = 0)`).Scan(&owners); err != nil {
			s.t.Fatal(err)
		}
		if time.Now().After(deadline) {
			s.t.Fatal("not every node has shards after a minute")
		}
	}
}

// fault is one kind of mishap. strike lets it happen to nodes and returns whom it concerns
// and how to end it.
type fault struct {
	name   string
	lasts  time.Duration
	strike func(s *scene, a, b int) (victims []int, heal func())
}

func (s *scene) cut(l ...*link) (heal func()) {
	for _, l := range l {
		l.set(func() { l.cut = true })
	}
	return func() {
		for _, l := range l {
			l.set(func() { l.cut = false })
		}
	}
}

func (s *scene) freeze(l ...*link) (heal func()) {
	for _, l := range l {
		l.set(func() { l.frozen = true })
	}
	return func() {
		for _, l := range l { // what was lost on the way does not arrive later
			l.set(func() { l.cut = true })
			l.set(func() { l.cut, l.frozen = false, false })
		}
	}
}

// questions sends reads of all current cells to a node that is stopped, and returns
// when its machine has them. The function returned waits for their answers.
func (s *scene) questions(i int) (wait func()) {
	var wg, sent sync.WaitGroup
	web := &http.Client{Timeout: 10 * lease, Transport: &http.Transport{DisableKeepAlives: true}}
	for k, name := range slices.Concat(s.current(), s.current(), s.current()) {
		sent.Add(1)
		once := sync.OnceFunc(sent.Done)
		trace := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { once() }})
		wg.Go(func() {
			defer once()
			ask(trace, web, 1000+k, *s.nodes[i].front.Load(), input{name: name}, s.record)
		})
	}
	sent.Wait()
	return wg.Wait
}

func (s *scene) pair(a, b int) []*link {
	return []*link{s.between[[2]int{a, b}], s.between[[2]int{b, a}]}
}

func (s *scene) all() []*link {
	var all []*link
	for _, l := range s.between {
		all = append(all, l)
	}
	for _, n := range s.nodes {
		all = append(all, n.db)
	}
	return all
}

var faults = []fault{
	{"kill -9", 0, func(s *scene, a, b int) ([]int, func()) {
		s.nodes[a].cmd.Process.Kill()
		<-s.nodes[a].exited
		return []int{a}, func() { s.start(a) }
	}},
	{"SIGSTOP for 1.75 leases", lease * 7 / 4, func(s *scene, a, b int) ([]int, func()) {
		s.nodes[a].cmd.Process.Signal(syscall.SIGSTOP)
		return []int{a}, func() {
			// Questions that lie there when it wakes, and are newer than what others have answered meanwhile.
			wait := s.questions(a)
			s.nodes[a].cmd.Process.Signal(syscall.SIGCONT)
			wait()
		}
	}},
	{"cut off from PostgreSQL", lease * 7 / 4, func(s *scene, a, b int) ([]int, func()) {
		return []int{a}, s.cut(s.nodes[a].db)
	}},
	{"PostgreSQL restarted", 0, func(s *scene, a, b int) ([]int, func()) {
		if err := s.server.Stop("immediate"); err != nil {
			s.t.Error(err)
		}
		if err := s.server.Start(); err != nil {
			s.t.Fatal(err)
		}
		return []int{0, 1, 2}, func() {}
	}},
	{"two nodes cut off from each other", lease, func(s *scene, a, b int) ([]int, func()) {
		return []int{a, b}, s.cut(s.pair(a, b)...)
	}},
	{"PostgreSQL silent to one node", lease * 7 / 4, func(s *scene, a, b int) ([]int, func()) {
		return []int{a}, s.freeze(s.nodes[a].db)
	}},
	{"two nodes silent to each other", lease * 3 / 2, func(s *scene, a, b int) ([]int, func()) {
		return []int{a, b}, s.freeze(s.pair(a, b)...)
	}},
	{"PostgreSQL silent to all for half a lease", lease / 2, func(s *scene, a, b int) ([]int, func()) {
		return []int{0, 1, 2}, s.freeze(s.nodes[0].db, s.nodes[1].db, s.nodes[2].db)
	}},
	{"every message 20 ms late", lease, func(s *scene, a, b int) ([]int, func()) {
		for _, l := range s.all() {
			l.set(func() { l.delay = 20 * time.Millisecond })
		}
		return []int{0, 1, 2}, func() {
			for _, l := range s.all() {
				l.set(func() { l.delay = 0 })
			}
		}
	}},
	{"left and came back", 0, func(s *scene, a, b int) ([]int, func()) {
		n := s.nodes[a]
		n.cmd.Process.Signal(syscall.SIGTERM)
		if err := <-n.exited; err != nil {
			s.t.Errorf("%s left with %v", n.name, err)
		}
		return []int{a}, func() { s.start(a) }
	}},
	{"drained and taken back", 0, func(s *scene, a, b int) ([]int, func()) {
		s.drain(a, true)
		return []int{a}, func() { s.drain(a, false) }
	}},
}

// drain does what the command does. A node that is drained has given up everything when it returns.
func (s *scene) drain(i int, on bool) {
	name := s.nodes[i].name
	conn := s.server.Connect(s.t, s.database)
	defer conn.Close(context.Background())
	count := func() (n int) {
		if err := conn.QueryRow(context.Background(), `SELECT count(*) FROM perdure.shards s JOIN perdure.nodes n ON n.id = s.owner WHERE n.name = $1`, name).Scan(&n); err != nil {
			s.t.Fatal(err)
		}
		return n
	}
	had, began := count(), time.Now()
	if _, err := conn.Exec(context.Background(), `UPDATE perdure.nodes SET draining = $1 WHERE name = $2 AND NOT ended`, on, name); err != nil {
		s.t.Fatal(err)
	}
	for on && count() > 0 {
		if time.Since(began) > time.Minute {
			s.t.Fatalf("%s has %d shards left after a minute", name, count())
		}
		time.Sleep(5 * time.Millisecond)
	}
	if on {
		s.t.Logf("%s gave up %d shards within %v, up to a fifth of a lease of which is until it heard of it", name, had, time.Since(began).Round(time.Millisecond))
	}
}

// silences are how long cells did not answer.
type silences struct{ victims, others []time.Duration }

// round lets one fault happen and waits until everything answers again.
func (s *scene) round(f fault, into *silences) {
	s.settle()
	s.newCells()
	s.await("before "+f.name, time.Now())
	cells := s.current()
	a := s.rng.IntN(3)
	b := (a + 1 + s.rng.IntN(2)) % 3
	failures, losses := s.record.failures(), s.losses()
	began := time.Now()
	victims, heal := f.strike(s, a, b)
	if f.lasts > 0 {
		time.Sleep(f.lasts) // it is what the fault is
	} else {
		s.await(f.name, time.Now())
	}
	heal()
	s.await("after "+f.name, time.Now())
	ended := time.Now()
	for _, name := range cells {
		d, node, ok := s.record.silence(name, began, ended)
		switch {
		case !ok:
		case slices.ContainsFunc(victims, func(i int) bool { return s.nodes[i].name == node }):
			into.victims = append(into.victims, d)
		default:
			into.others = append(into.others, d)
		}
	}
	if strings.HasPrefix(f.name, "drained") {
		if got := s.record.failures() - failures; got > 0 && s.losses() == losses {
			s.t.Errorf("while shards were handed over in order %d operations failed", got)
		}
	}
}

// losses counts how often nodes lost their leases.
func (s *scene) losses() (n int) {
	for _, p := range s.nodes {
		n += strings.Count(p.log.String(), "shards lost")
	}
	return n
}

func (s *scene) run(t *testing.T, faults []fault, length time.Duration) {
	s.newCells()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	for i := range 2 * groupSize * len(s.nodes) { // one for each cell at each node
		cell := func() string {
			names := s.current()
			return names[i%len(names)]
		}
		front := func() string { return *s.nodes[i/(2*groupSize)].front.Load() }
		seed := s.rng.Uint64()
		wg.Go(func() { client(ctx, i, seed, front, cell, s.record) })
	}
	defer wg.Wait()
	defer stop()

	began, count := time.Now(), 0
	all := make([]silences, len(faults))
	for k := 0; k < len(faults) || time.Since(began) < length; k++ {
		s.round(faults[k%len(faults)], &all[k%len(faults)])
		count++
	}
	stop()
	wg.Wait()
	took := time.Since(began)

	// What was acknowledged is there.
	web := &http.Client{Timeout: time.Minute}
	for _, name := range s.cells {
		deadline := time.Now().Add(time.Minute)
		for !ask(context.Background(), web, 99, *s.nodes[s.rng.IntN(len(s.nodes))].front.Load(), input{name: name}, s.record) {
			if time.Now().After(deadline) {
				t.Fatalf("%s can't be read at the end", name)
			}
		}
	}
	s.record.check(t)
	t.Logf("%v, %d faults, leases of %v were lost %d times", took.Round(time.Second), count, lease, s.losses())
	t.Logf("%-45s %28s %28s", "time from last answer to next, by cell", "on a node concerned", "on others")
	for i, f := range faults {
		t.Logf("%-45s %28s %28s", f.name, spread(all[i].victims), spread(all[i].others))
	}
}

func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	ms := time.Millisecond
	return fmt.Sprintf("p50 %v max %v (%d)", all[len(all)/2].Round(ms), all[len(all)-1].Round(ms), len(all))
}

// length is how long the test goes on at least.
func length(t *testing.T, def time.Duration) time.Duration {
	text := os.Getenv("PERDURE_LIVETEST")
	if text == "" {
		return def
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("PERDURE_LIVETEST: %v", err)
	}
	return d
}

// TestStrictFaults is for those faults in which strict mode takes another way than leases.
func TestStrictFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	newScene(t, true, seed).run(t, faults[:4], length(t, 0)/4)
}

func TestFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chosen := faults
	if testing.Short() {
		chosen = faults[:3]
	}
	newScene(t, false, seed).run(t, chosen, length(t, 0))
}
