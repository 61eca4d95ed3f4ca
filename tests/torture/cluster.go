package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyTime = 5 * time.Minute // a bound, not an expectation: a loaded machine starts etcd slowly
	stopTime  = 60 * time.Second
	diskSize  = 256 // MiB
)

// etcdBounds bound the memory of an etcd: see ETCD_BOUNDS in scripts/system.py.
var etcdBounds = []string{"ETCD_SNAPSHOT_COUNT=200", "ETCD_SNAPSHOT_CATCHUP_ENTRIES=200", "GOMEMLIMIT=768MiB"}

// process is a program under test: a service's replica or a member of etcd.
type process struct {
	name       string
	service    string // "": a member of etcd
	place      place
	program    string
	started    string // the program that runs
	args       []string
	membership []string // of a member: the part of args that a restoration needs, too
	env        []string
	health     string // URL that answers 200
	folder     string // of its log, and of its data unless data says otherwise
	data       string // "": not on a disk of its own
	clock      string // file that holds what is added to its clock

	mutex    sync.Mutex
	command  *exec.Cmd
	ended    chan struct{}
	expected bool // to end
	problems []string
}

func (p *process) start() error {
	log, err := os.OpenFile(filepath.Join(p.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	command := p.place.command(p.program, p.args...)
	command.Env, command.Dir = p.env, p.folder
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for this program
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.command, p.ended, p.expected, p.started = command, ended, false, p.program
	go func() {
		_ = command.Wait()
		p.mutex.Lock()
		if !p.expected {
			p.problems = append(p.problems, fmt.Sprintf("%s ended by itself: %v%s", p.name, command.ProcessState, p.lastWords()))
		}
		p.mutex.Unlock()
		close(ended)
	}()
	return nil
}

func (p *process) lastWords() string {
	text, _ := os.ReadFile(filepath.Join(p.folder, "log"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "\n           " + strings.Join(lines[max(0, len(lines)-3):], "\n           ")
}

func (p *process) signal(number syscall.Signal) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = p.command.Process.Signal(number)
}

// expect says that it will end, or may.
func (p *process) expect() chan struct{} {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.expected = true
	return p.ended
}

func (p *process) kill() {
	ended := p.expect()
	p.signal(syscall.SIGKILL)
	<-ended
}

// stop drains it; only an exit status of 0 is right.
func (p *process) stop() error {
	ended := p.expect()
	p.signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(stopTime):
		p.kill()
		return fmt.Errorf("%s did not end in %v after SIGTERM%s", p.name, stopTime, p.lastWords())
	}
	if status := p.command.ProcessState; !status.Success() {
		return fmt.Errorf("%s ended with %v after SIGTERM%s", p.name, status, p.lastWords())
	}
	return nil
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

var probe = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// waitReady starts it again where it has ended, as whoever supervises it would.
func (p *process) waitReady() error {
	for deadline := time.Now().Add(readyTime); time.Now().Before(deadline); time.Sleep(3 * time.Millisecond) {
		if !p.running() {
			if err := p.start(); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
		if response, err := probe.Get(p.health); err == nil {
			response.Body.Close()
			if response.StatusCode == 200 {
				return nil
			}
		}
	}
	return fmt.Errorf("%s is not ready after %v%s", p.name, readyTime, p.lastWords())
}

// metric is the value of a metric without labels.
func (p *process) metric(name string) (int, error) {
	response, err := probe.Get("http://" + p.place.ip + ":9090/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, name+" "); found {
			number, err := strconv.ParseFloat(value, 64)
			return int(number), err
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

func (p *process) stepClock(seconds int64) error {
	file, err := os.OpenFile(p.clock, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(seconds)), 0)
	return err
}

// ---- all of them ----

type cluster struct {
	options   *options
	isolated  bool
	processes []*process
	members   []*process // of etcd
	clocks    *rand.Rand // by which the clocks of services are wrong
	load      *load
}

func (c *cluster) services() []*process { return c.processes[len(c.members):] }

func (c *cluster) replicas(service string) []*process {
	var all []*process
	for _, p := range c.services() {
		if p.service == service {
			all = append(all, p)
		}
	}
	return all
}

func (c *cluster) newProcess(name, program string) (*process, error) {
	place, err := makePlace(c.isolated, len(c.processes)+1)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, place: place, program: program, folder: filepath.Join(c.options.work, name)}
	c.processes = append(c.processes, p)
	return p, os.MkdirAll(p.folder, 0o755)
}

func (c *cluster) addMembers() error {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return fmt.Errorf("etcd is missing: scripts/tools FOLDER puts it there")
	}
	var all []string
	for i := range c.options.members {
		p, err := c.newProcess(fmt.Sprintf("etcd-%d", i+1), program)
		if err != nil {
			return err
		}
		c.members = append(c.members, p)
		all = append(all, fmt.Sprintf("%s=http://%s:2380", p.name, p.place.ip))
	}
	for _, p := range c.members {
		client, peer := "http://"+p.place.ip+":2379", "http://"+p.place.ip+":2380"
		p.health = client + "/health"
		p.env = append([]string{"PATH=" + os.Getenv("PATH")}, etcdBounds...)
		p.membership = []string{"--name", p.name, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(all, ",")}
		p.args = append([]string{"--data-dir", filepath.Join(p.folder, "data"), "--log-level", "error",
			"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
			"--heartbeat-interval", "50", "--election-timeout", "500", "--quota-backend-bytes", fmt.Sprint(quotaBytes)}, p.membership...)
	}
	return nil
}

func (c *cluster) addService(name, program string, number int) error {
	p, err := c.newProcess(fmt.Sprintf("%s-%d", name, number), program)
	if err != nil {
		return err
	}
	p.service = name
	folder := filepath.Join(p.folder, "data")
	if c.isolated && name == "feature-store" && number == 1 {
		p.data = filepath.Join(p.folder, "disk")
		folder = filepath.Join(p.data, "data")
		if err := smallDisk(p.data, diskSize); err != nil {
			return err
		}
	}
	url := "lmdb://" + folder
	if len(c.members) > 0 {
		var endpoints []string
		for _, member := range c.members {
			endpoints = append(endpoints, member.place.ip+":2379")
		}
		url = fmt.Sprintf("etcd://%s/%s?view=%s", strings.Join(endpoints, ","), name, folder)
	}
	p.health = "http://" + p.place.ip + ":9090/readyz"
	p.env = []string{"BIND_ADDRESS=" + p.place.ip, "PORT=8080", "METRICS_PORT=9090", "STORE_URL=" + url, "LOG_LEVEL=error",
		"SHUTDOWN_DELAY_SECONDS=0", "WORKERS=2"}
	if name == "notes" {
		p.env = append(p.env, fmt.Sprintf("REQUEST_TIMEOUT_MS=%d", serverTimeout.Milliseconds()))
	} else {
		p.env = append(p.env, "GRPC_PORT=8080")
	}
	if c.options.clock == "" {
		return nil
	}
	p.clock = filepath.Join(p.folder, "clock")
	p.env = append(p.env, "LD_PRELOAD="+c.options.clock, "SLIPWAY_TORTURE_CLOCK="+p.clock)
	return p.stepClock(wrongClock(c.clocks)) // from the beginning, and at every restart
}

func (c *cluster) add() error {
	if c.options.engine == "etcd" {
		if err := c.addMembers(); err != nil {
			return err
		}
	}
	replicas := 1
	if c.options.engine == "etcd" {
		replicas = c.options.replicas
	}
	for i := range replicas {
		if err := c.addService("notes", c.options.notes, i+1); err != nil {
			return err
		}
		if c.options.features == "" {
			continue
		}
		if err := c.addService("feature-store", c.options.features, i+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) start() error {
	for _, group := range [][]*process{c.members, c.services()} {
		for _, p := range group {
			if err := p.start(); err != nil {
				return err
			}
		}
		for _, p := range group {
			if err := p.waitReady(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) targets() map[string][]string {
	targets := map[string][]string{}
	for _, p := range c.services() {
		targets[p.service] = append(targets[p.service], p.place.ip+":8080")
	}
	return targets
}

// leader is the member that leads, or the first where none does.
func (c *cluster) leader() *process {
	for _, p := range c.members {
		response, err := probe.Post("http://"+p.place.ip+":2379/v3/maintenance/status", "application/json", bytes.NewReader([]byte("{}")))
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		var status struct {
			Header struct {
				Member string `json:"member_id"`
			}
			Leader string
		}
		if json.Unmarshal(body, &status) == nil && status.Leader != "" && status.Leader == status.Header.Member {
			return p
		}
	}
	return c.members[0]
}

func (c *cluster) healthy() Finding {
	finding := Finding{Check: "processes end only when they are killed, and are ready again"}
	for _, p := range c.processes {
		finding.Looked++
		p.mutex.Lock()
		finding.Wrong = append(finding.Wrong, p.problems...)
		p.mutex.Unlock()
	}
	return finding
}

func (c *cluster) stop() Finding {
	finding := Finding{Check: "services drain and end with status 0"}
	for _, p := range c.services() {
		finding.Looked++
		if err := p.stop(); err != nil {
			finding.wrong("%v", err)
		}
	}
	for _, p := range c.members {
		p.kill()
	}
	return finding
}
