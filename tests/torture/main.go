// torture puts load on notes and feature-store, kills and hinders them and their etcd at random moments, and judges what
// the clients saw. It prints what it did and ends with "N passed, N failed".
//
//	torture -build FOLDER [-engine lmdb|etcd] [-seed N] [-seconds N | -kills N]
//	torture -check FILE...
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sort"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	engine    string
	seed      uint64
	seconds   float64
	kills     int
	onlyKills bool
	members   int
	replicas  int
	clients   int
	pace      time.Duration
	build     string
	notes     string // program
	features  string // program; "" for none
	next      string // program: a later version of notes; "" for none
	clock     string // library that steps clocks; "" for none
	work      string
	keep      bool
	check     bool
	files     []string
}

func parse() *options {
	o := &options{}
	flag.StringVar(&o.engine, "engine", "lmdb", "of the store: lmdb or etcd")
	flag.Uint64Var(&o.seed, "seed", 0, "of the faults and of what clients do; 0: another each time")
	flag.Float64Var(&o.seconds, "seconds", 20, "how long there are faults")
	flag.IntVar(&o.kills, "kills", 0, "instead: until so many processes have been killed")
	flag.BoolVar(&o.onlyKills, "only-kills", false, "no other faults than SIGKILL")
	flag.IntVar(&o.members, "members", 3, "of etcd")
	flag.IntVar(&o.replicas, "replicas", 3, "of each service over etcd")
	flag.IntVar(&o.clients, "clients", 8, "of each service")
	flag.DurationVar(&o.pace, "pace", 2*time.Millisecond, "between a client's operations")
	flag.StringVar(&o.build, "build", "build", "folder of the programs")
	flag.StringVar(&o.notes, "notes", "", "another program for notes; feature-store is left out then")
	flag.StringVar(&o.work, "work", "", "folder for data, logs and the history: kept; by default one that is removed if all is well")
	flag.BoolVar(&o.check, "check", false, "judge the histories that are named, and do nothing else")
	flag.Parse()
	o.files = flag.Args()
	o.build, _ = filepath.Abs(o.build)
	if o.notes == "" {
		o.notes, o.features = filepath.Join(o.build, "notes"), filepath.Join(o.build, "feature-store")
		if next := filepath.Join(o.build, "tests/torture/notes-next"); exists(next) {
			o.next = next
		}
	}
	o.notes, _ = filepath.Abs(o.notes)
	if clock := filepath.Join(o.build, "tests/torture/libclock.so"); exists(clock) {
		o.clock = clock
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1e9
	}
	return o
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func main() {
	o := parse()
	if o.check {
		os.Exit(checkFiles(o.files))
	}
	if o.engine != "lmdb" && o.engine != "etcd" || len(o.files) > 0 {
		flag.Usage()
		os.Exit(2)
	}
	isolated := enter()
	findings, err := torture(o, isolated)
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		findings = append(findings, Finding{Check: "the test itself", Wrong: []string{err.Error()}})
	}
	passed, failed := report(findings)
	if failed == 0 && !o.keep {
		os.RemoveAll(o.work)
	} else {
		fmt.Printf("data, logs and the history: %s; the same faults again: -seed %d\n", o.work, o.seed)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func checkFiles(files []string) int {
	status := 0
	for _, file := range files {
		ops, err := readHistory(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "torture:", err)
			return 2
		}
		passed, failed := report(judge(ops))
		fmt.Printf("%d passed, %d failed\n", passed, failed)
		if failed > 0 {
			status = 1
		}
	}
	return status
}

func torture(o *options, isolated bool) ([]Finding, error) {
	if err := makeWork(o); err != nil {
		return nil, err
	}
	c := &cluster{options: o, isolated: isolated, clocks: rand.New(rand.NewPCG(o.seed, 1))}
	describe(o, isolated)
	if err := c.add(); err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range c.processes {
			if p.command != nil && p.running() {
				p.kill()
			}
		}
	}()
	if err := c.start(); err != nil {
		return nil, err
	}
	history, err := newHistory(filepath.Join(o.work, "history.jsonl"))
	if err != nil {
		return nil, err
	}
	l := &load{history: history, targets: c.targets(), pace: o.pace, stop: make(chan struct{})}
	c.load = l
	notes := newNotesLoad(l)
	l.run(o.clients, o.seed, 0, notes.operate)
	l.run(1, o.seed, listProcess, notes.listSometimes)
	features := &featuresLoad{load: l, grpc: newGRPCClient()}
	if o.features != "" {
		l.run(o.clients, o.seed, o.clients, features.operate)
	}
	summary, err := c.hurt(history)
	close(l.stop)
	l.clients.Wait()
	if err != nil {
		return []Finding{c.healthy()}, err
	}
	for _, p := range c.processes {
		if err := p.waitReady(); err != nil {
			return []Finding{c.healthy()}, err
		}
	}
	if len(c.members) > 0 { // nobody compacts as often as clients write here
		if err := c.makeRoom(); err != nil {
			return []Finding{c.healthy()}, err
		}
	}
	var findings []Finding
	if isolated && len(c.members) > 0 && !o.onlyKills {
		finding, err := c.partition(notes)
		if err != nil {
			return nil, err
		}
		findings = append(findings, finding)
	}
	if c.hasGrown() {
		finding, err := c.grown()
		if err != nil {
			return nil, err
		}
		findings = append(findings, finding)
	}
	notes.repeat()
	notes.final()
	if o.features != "" {
		features.repeat()
		features.final()
	}
	if err := history.close(); err != nil {
		return nil, err
	}
	notes.http.CloseIdleConnections()
	features.grpc.http.CloseIdleConnections()
	fmt.Println(summary)
	describeHistory(history.ops)
	findings = append(findings, judge(history.ops)...)
	return append(findings, answers(l, history.ops), c.healthy(), c.stop()), nil
}

func makeWork(o *options) (err error) {
	if o.work == "" {
		o.work, err = os.MkdirTemp("", "torture-")
		return err
	}
	o.keep = true
	o.work, _ = filepath.Abs(o.work)
	return os.MkdirAll(o.work, 0o755)
}

func describe(o *options, isolated bool) {
	fmt.Printf("torture: engine %s, seed %d, %d clients of each service\n", o.engine, o.seed, o.clients)
	if !isolated {
		fmt.Println("left out, for want of namespaces (root, ip, nft): cut and slow links, full disks")
	}
	if o.clock == "" {
		fmt.Println("left out, for want of tests/torture/libclock.so: wrong clocks")
	}
}

// hurt inflicts fault after fault.
func (c *cluster) hurt(history *History) (string, error) {
	var interrupted atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		interrupted.Store(true)
	}()
	o := c.options
	faults := newSchedule(o.seed, c, o.onlyKills)
	deadline := time.Now().Add(time.Duration(o.seconds * float64(time.Second)))
	count, kills, slowest, slowestText := 0, 0, time.Duration(0), ""
	for !interrupted.Load() && (o.kills > 0 && kills < o.kills || o.kills == 0 && time.Now().Before(deadline)) {
		f := faults.next()
		time.Sleep(f.pause)
		began := time.Now()
		said := ""
		err := c.inflict(f, func(text string) {
			said = text
			fmt.Printf("%10.3f s  %s\n", float64(history.now())/1e9, text)
		})
		if err != nil {
			return "", err
		}
		count++
		kills += f.kills(c)
		if back := time.Since(began) - f.held(); back > slowest {
			slowest, slowestText = back, said
		}
	}
	return fmt.Sprintf("%d faults, %d processes killed, ready again after %.2f s at most (%s)", count, kills,
		slowest.Seconds(), slowestText), nil
}

func describeHistory(ops []Op) {
	counts := map[string]int{}
	for _, op := range ops {
		counts[op.Service+" "+op.Kind+" "+op.Result]++
	}
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("%10d  %s\n", counts[name], name)
	}
	fmt.Printf("%8.2f s  longest without an acknowledged write\n", longestPause(ops).Seconds())
}

// longestPause is the longest time in which no write of a service was acknowledged to any client.
func longestPause(ops []Op) time.Duration {
	ends := map[string][]int64{}
	for _, op := range ops {
		if op.Result == ok && op.Arg != "" {
			ends[op.Service] = append(ends[op.Service], op.End)
		}
	}
	longest := int64(0)
	for _, times := range ends {
		slices.Sort(times)
		for i := 1; i < len(times); i++ {
			longest = max(longest, times[i]-times[i-1])
		}
	}
	return time.Duration(longest)
}

// answers: were there enough, and only such as there may be?
func answers(l *load, ops []Op) Finding {
	finding := Finding{Check: "answers are such as there may be"}
	writes := 0
	for _, op := range ops {
		if op.Result == ok && op.Arg != "" {
			writes++
		}
	}
	finding.Looked = len(ops)
	if writes == 0 {
		finding.wrong("no write was ever acknowledged")
	}
	l.strange.Range(func(answer, count any) bool {
		finding.wrong("%s: %d times", answer, count.(*atomic.Int64).Load())
		return true
	})
	return finding
}
