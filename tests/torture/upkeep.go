package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What operators do to etcd, and what happens to its members, while services run.

const (
	quotaBytes = 48 << 20 // so little that history alone fills it, unless it is compacted
	memberTime = 40 * time.Second

	operatorProcess = -300 // none of the load's
)

// tool is the path of etcdctl or etcdutl, which are beside etcd.
func (c *cluster) tool(name string) string {
	return filepath.Join(filepath.Dir(c.members[0].program), name)
}

// etcdctl is repeated while a cluster refuses: it does for five seconds after a change of members.
func (c *cluster) etcdctl(at *process, args ...string) (string, error) {
	args = append([]string{"--endpoints=" + at.place.ip + ":2379", "--command-timeout=5m"}, args...)
	for deadline := time.Now().Add(memberTime); ; time.Sleep(100 * time.Millisecond) {
		output, err := exec.Command(c.tool("etcdctl"), args...).CombinedOutput()
		if err == nil {
			return string(output), nil
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("etcdctl %s: %w: %s", strings.Join(args, " "), err, output)
		}
	}
}

// compact removes all of etcd's history: a replica that is behind has to load all records anew.
func (c *cluster) compact() error {
	for attempt := 0; ; attempt++ {
		text, err := c.etcdctl(c.members[0], "get", "none", "-w=json")
		if err != nil {
			return err
		}
		var said struct{ Header struct{ Revision int64 } }
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			return err
		}
		output, err := exec.Command(c.tool("etcdctl"), "--endpoints="+c.members[0].place.ip+":2379", "compaction",
			fmt.Sprint(said.Header.Revision)).CombinedOutput()
		if err == nil || strings.Contains(string(output), "has been compacted") {
			return nil
		}
		if attempt == 20 {
			return fmt.Errorf("etcdctl compaction: %w: %s", err, output)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// makeRoom is what etcd's auto-compaction and the job etcd-defragment do.
func (c *cluster) makeRoom() error {
	if err := c.compact(); err != nil {
		return err
	}
	for _, member := range c.members {
		if _, err := c.etcdctl(member, "defrag"); err != nil {
			return err
		}
	}
	return nil
}

// loseDisk replaces a member as the runbook says: the new one begins with nothing.
func (c *cluster) loseDisk(lost *process) error {
	other := c.members[0]
	if other == lost {
		other = c.members[1]
	}
	lost.kill()
	if err := os.RemoveAll(filepath.Join(lost.folder, "data")); err != nil {
		return err
	}
	text, err := c.etcdctl(other, "member", "list", "-w=json", "--hex=true")
	if err != nil {
		return err
	}
	var said struct{ Members []struct{ ID, Name string } }
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return err
	}
	for _, member := range said.Members {
		if member.Name != lost.name {
			continue
		}
		if _, err := c.etcdctl(other, "member", "remove", member.ID); err != nil {
			return err
		}
	}
	if _, err := c.etcdctl(other, "member", "add", lost.name, "--peer-urls=http://"+lost.place.ip+":2380"); err != nil {
		return err
	}
	const existing = "--initial-cluster-state=existing"
	if !slices.Contains(lost.args, existing) {
		lost.args = append(lost.args, existing)
	}
	return nil // whoever was hit is started again
}

// restore takes etcd back to a snapshot, as the runbook says: with all services and members stopped, every member begins
// anew with the snapshot's data. Both are operations of the history: what was acknowledged in between is gone.
func (c *cluster) restore(hold time.Duration) error {
	file := filepath.Join(c.options.work, "snapshot")
	snapshot := Op{Process: operatorProcess, Kind: "snapshot", Start: c.load.history.now(), Result: ok}
	member := c.leader()
	if _, err := c.etcdctl(member, "get", "none"); err != nil { // a member may lag behind what was acknowledged before
		return err
	}
	_ = os.Remove(file)
	if _, err := c.etcdctl(member, "snapshot", "save", file); err != nil {
		return err
	}
	snapshot.End = c.load.history.now()
	time.Sleep(hold)
	c.load.restorations.Add(1)
	restore := Op{Process: operatorProcess, Kind: "restore", Start: c.load.history.now(), Result: ok}
	for _, p := range c.processes {
		p.kill()
	}
	for _, p := range c.members {
		data := filepath.Join(p.folder, "data")
		if err := os.RemoveAll(data); err != nil {
			return err
		}
		args := []string{"snapshot", "restore", file, "--data-dir=" + data, "--bump-revision=1000000000", "--mark-compacted"}
		args = append(args, p.membership...)
		if output, err := exec.Command(c.tool("etcdutl"), args...).CombinedOutput(); err != nil {
			return fmt.Errorf("etcdutl %s: %w: %s", strings.Join(args, " "), err, output)
		}
	}
	restore.End = c.load.history.now()
	c.load.history.add(snapshot)
	c.load.history.add(restore)
	return nil // all are started again
}

// grow lets a replica of notes end and begin again as a later version, which adds a table and renews an index. The others
// do so when they are started the next time: until then both versions run.
func (c *cluster) grow(target *process) {
	for _, p := range c.replicas("notes") {
		p.program = c.options.next
	}
	target.kill()
}

func (c *cluster) hasGrown() bool {
	return c.options.next != "" && c.replicas("notes")[0].program == c.options.next
}

// grown ends the change of versions, and asks every replica how many records of the new table it has.
func (c *cluster) grown() (Finding, error) {
	finding := Finding{Check: "notes: every replica has all of a table that was added while it ran"}
	replicas := c.replicas("notes")
	for _, p := range replicas {
		if p.started != p.program {
			p.kill()
			if err := p.start(); err != nil {
				return finding, err
			}
		}
	}
	for _, p := range replicas {
		if err := p.waitReady(); err != nil {
			return finding, err
		}
	}
	text, err := c.etcdctl(c.members[0], "get", "--prefix", "/notes/later/", "--count-only", "-w=fields")
	if err != nil {
		return finding, err
	}
	count := 0
	_, line, _ := strings.Cut(text, `"Count" : `)
	if _, err := fmt.Sscan(line, &count); err != nil {
		return finding, fmt.Errorf("etcdctl does not count the records of the new table: %w: %s", err, text)
	}
	for _, p := range replicas {
		finding.Looked += count
		if records, err := p.metric("torture_later_records"); err != nil || records != count {
			finding.wrong("%s has %d records of %d: %v", p.name, records, count, err)
		}
	}
	return finding, nil
}
