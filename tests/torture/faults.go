package main

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

const wrongSeconds = 48 * 3600

// fault is a step of the schedule, which depends on the seed and the options alone.
type fault struct {
	pause  time.Duration // before it
	kind   string
	target int           // of the processes
	other  int           // a cut's other side
	hold   time.Duration // until it is healed
	amount int64
}

// schedule makes faults without end. What it asks random for must not depend on what happens.
type schedule struct {
	random *rand.Rand
	kinds  []string
	all    int // processes
	first  int // the first that is a service
	quick  bool
}

func newSchedule(seed uint64, c *cluster, onlyKills bool) *schedule {
	s := &schedule{random: rand.New(rand.NewPCG(seed, 0)), all: len(c.processes), first: len(c.members), quick: onlyKills}
	s.kinds = []string{"kill", "kill", "kill"}
	if len(c.members) > 0 {
		s.kinds = append(s.kinds, "kill", "kill leader")
	}
	if onlyKills {
		return s
	}
	s.kinds = append(s.kinds, "stop", "stop", "kill all")
	if c.options.clock != "" {
		s.kinds = append(s.kinds, "step clock")
	}
	if len(c.members) > 0 {
		s.kinds = append(s.kinds, "make room", "make room", "lose member", "restore")
	}
	if len(c.members) > 2 {
		s.kinds = append(s.kinds, "lose disk")
	}
	if len(c.members) > 0 && c.options.next != "" {
		s.kinds = append(s.kinds, "grow")
	}
	if c.isolated && c.options.features != "" {
		s.kinds = append(s.kinds, "fill disk")
	}
	if c.isolated && len(c.members) > 0 {
		s.kinds = append(s.kinds, "cut replica", "compact behind", "cut", "lose packets", "slow link")
	}
	return s
}

// wrongClock is how far the clock of a service may be wrong: by more than any idempotency key is kept.
func wrongClock(random *rand.Rand) int64 { return int64(random.IntN(2*wrongSeconds) - wrongSeconds) }

func (s *schedule) next() fault {
	f := fault{
		kind:   s.kinds[s.random.IntN(len(s.kinds))],
		target: s.random.IntN(s.all),
		other:  s.random.IntN(s.all),
		pause:  time.Duration(20+s.random.IntN(130)) * time.Millisecond,
		hold:   time.Duration(100+s.random.IntN(1900)) * time.Millisecond,
		amount: wrongClock(s.random),
	}
	service := s.first + s.random.IntN(s.all-s.first)
	switch f.kind {
	case "cut replica", "compact behind", "step clock", "grow":
		f.target = service
	case "lose member", "lose disk":
		f.target %= s.first
	}
	if !s.quick {
		f.pause *= 4
	}
	return f
}

// inflict does it, heals it, and waits until whoever was hit is ready again.
func (c *cluster) inflict(f fault, say func(string)) error {
	target, other := c.processes[f.target], c.processes[f.other]
	hit := []*process{target}
	hold := func() { time.Sleep(f.hold) }
	var err error
	switch f.kind {
	case "kill":
		say("SIGKILL " + target.name)
		target.kill()
	case "kill leader":
		target = c.leader()
		hit[0] = target
		say("SIGKILL " + target.name + ", the leader")
		target.kill()
	case "kill all":
		say("SIGKILL all")
		for _, p := range c.processes {
			p.kill()
		}
		hit = c.processes
	case "stop":
		say(fmt.Sprintf("SIGSTOP %s for %v", target.name, f.hold))
		target.signal(syscall.SIGSTOP)
		hold()
		target.signal(syscall.SIGCONT)
	case "step clock":
		say(fmt.Sprintf("step the clock of %s by %d s", target.name, f.amount))
		err = target.stepClock(f.amount)
	case "fill disk":
		for _, p := range c.services() {
			if p.data != "" {
				hit[0] = p
			}
		}
		say(fmt.Sprintf("fill the disk of %s for %v", hit[0].name, f.hold))
		if err = fill(hit[0].data); err == nil {
			hold()
			err = free(hit[0].data)
		}
	case "make room":
		say("compact and defragment etcd")
		err = c.makeRoom()
	case "lose member":
		say(fmt.Sprintf("SIGKILL %s, for %v", target.name, f.hold))
		target.kill()
		hold()
	case "lose disk":
		say("lose the disk of " + target.name)
		err = c.loseDisk(target)
	case "restore":
		say(fmt.Sprintf("restore etcd from a snapshot of %v ago", f.hold))
		err = c.restore(f.hold)
		hit = c.processes
	case "grow":
		replicas := c.replicas("notes")
		target = replicas[f.target%len(replicas)]
		hit[0] = target
		say(target.name + " ends; notes begin again as a version with one more table from now on")
		c.grow(target)
	case "cut replica", "compact behind":
		say(fmt.Sprintf("cut %s from all of etcd for %v: %s", target.name, f.hold, f.kind))
		for _, member := range c.members {
			if err == nil {
				err = cut(target.place, member.place)
			}
		}
		hold()
		if f.kind == "compact behind" {
			err = first(err, c.compact())
		}
		err = first(err, healLinks())
	case "cut":
		say(fmt.Sprintf("cut %s from %s for %v", target.name, other.name, f.hold))
		err = cut(target.place, other.place)
		hold()
		err = first(err, healLinks())
	case "lose packets":
		say(fmt.Sprintf("lose every fifth packet of %s for %v", target.name, f.hold))
		err = lose(target.place, 20)
		hold()
		err = first(err, healLinks())
	case "slow link":
		say(fmt.Sprintf("slow down %s for %v", target.name, f.hold))
		if err = delay(target.place); err == nil {
			hold()
			err = undelay(target.place)
		}
	}
	if err != nil {
		return err
	}
	for _, p := range hit {
		if !p.running() {
			if err := p.start(); err != nil {
				return err
			}
		}
	}
	for _, p := range hit {
		if err := p.waitReady(); err != nil {
			return err
		}
	}
	return nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// held is how long it lasts before it is healed.
func (f fault) held() time.Duration {
	switch f.kind {
	case "kill", "kill leader", "kill all", "step clock", "make room", "lose disk", "grow":
		return 0
	}
	return f.hold
}

func (f fault) kills(c *cluster) int {
	switch f.kind {
	case "kill", "kill leader", "lose member", "lose disk", "grow":
		return 1
	case "kill all", "restore":
		return len(c.processes)
	}
	return 0
}
