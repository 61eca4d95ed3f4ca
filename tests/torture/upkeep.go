package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// What operators do to etcd, and what happens to its members, while services run.

const (
	quotaBytes = 48 << 20 // so little that history alone fills it, unless it is compacted
	memberTime = 40 * time.Second
)

// etcdctl is repeated while a cluster refuses: it does for five seconds after a change of members.
func (c *cluster) etcdctl(at *process, args ...string) (string, error) {
	program := filepath.Join(filepath.Dir(c.members[0].program), "etcdctl")
	args = append([]string{"--endpoints=" + at.place.ip + ":2379", "--command-timeout=10s"}, args...)
	for deadline := time.Now().Add(memberTime); ; time.Sleep(100 * time.Millisecond) {
		output, err := exec.Command(program, args...).CombinedOutput()
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
		program := filepath.Join(filepath.Dir(c.members[0].program), "etcdctl")
		output, err := exec.Command(program, "--endpoints="+c.members[0].place.ip+":2379", "compaction",
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
	lost.args = append(lost.args, "--initial-cluster-state=existing")
	return nil // whoever was hit is started again
}
