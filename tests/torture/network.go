package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// The test runs in namespaces of its own (network, mounts, processes), so that all it makes ends with it: every process
// under test has a network of its own behind this one, where links can be cut. Where namespaces cannot be had, all is
// on loopback addresses, and what needs a network or a small file system is left out.

const insideVariable = "SLIPWAY_TORTURE_INSIDE"

// enter runs this program again in new namespaces and ends with its status. It returns where it is inside already
// (true), or where that is not possible (false).
func enter() bool {
	if os.Getenv(insideVariable) != "" {
		if err := prepareInside(); err != nil {
			fmt.Fprintln(os.Stderr, "torture:", err)
			os.Exit(2)
		}
		return true
	}
	command := exec.Command("/proc/self/exe", os.Args[1:]...)
	command.Env = append(os.Environ(), insideVariable+"=1")
	command.Stdin, command.Stdout, command.Stderr = nil, os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Getuid() != 0 {
		attributes := command.SysProcAttr
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if !canCut() || command.Start() != nil {
		return false
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for number := range signals {
			_ = command.Process.Signal(number)
		}
	}()
	_ = command.Wait()
	os.Exit(command.ProcessState.ExitCode())
	return false
}

// canCut: are the programs there, and may they do it?
func canCut() bool {
	probe := "mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs tmpfs /mnt && ip netns add probe && " +
		"ip link add probe0 type veth peer name probe1 netns probe && nft add table ip probe"
	unshare := []string{"--net", "--mount", "--pid", "--fork"}
	if os.Getuid() != 0 {
		unshare = append(unshare, "--user", "--map-root-user")
	}
	probe = "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && " + probe
	return exec.Command("unshare", append(unshare, "sh", "-ec", probe)...).Run() == nil
}

func sh(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if output, err := exec.Command("sh", "-ec", text).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", text, err, strings.TrimSpace(string(output)))
	}
	return nil
}

func prepareInside() error {
	return sh("mount --make-rprivate / && mount -t proc proc /proc && mkdir -p /run/netns && " +
		"mount -t tmpfs tmpfs /run/netns && ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward && " +
		"nft add table ip torture && nft 'add chain ip torture forward { type filter hook forward priority 0; }'")
}

// place is where a process runs: an address, and a namespace where there are any.
type place struct {
	number    int
	namespace string
	ip        string
}

func makePlace(isolated bool, number int) (place, error) {
	if !isolated {
		pid := os.Getpid()
		return place{number: number, ip: fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&63, pid&255, number)}, nil
	}
	p := place{number, fmt.Sprintf("t%d", number), fmt.Sprintf("10.77.%d.2", number)}
	return p, sh("ip netns add %[1]s; ip link add %[2]s type veth peer name eth netns %[1]s; ip addr add 10.77.%[3]d.1/30 dev %[2]s;"+
		"ip link set %[2]s up; ip -n %[1]s addr add %[4]s/30 dev eth; ip -n %[1]s link set eth up; ip -n %[1]s link set lo up;"+
		"ip -n %[1]s route add default via 10.77.%[3]d.1", p.namespace, p.link(), number, p.ip)
}

func (p place) link() string { return fmt.Sprintf("to%d", p.number) }

// command is how a program starts there.
func (p place) command(program string, args ...string) *exec.Cmd {
	if p.namespace == "" {
		return exec.Command(program, args...)
	}
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + p.namespace, program}, args...)...)
}

func cut(a, b place) error {
	return sh("nft add rule ip torture forward ip saddr %[1]s ip daddr %[2]s drop; nft add rule ip torture forward ip saddr %[2]s ip daddr %[1]s drop",
		a.ip, b.ip)
}

// lose drops some of the packets from and to a place: what remains is slow.
func lose(p place, percent int) error {
	return sh("nft add rule ip torture forward ip saddr %[1]s numgen random mod 100 '<' %[2]d drop; nft add rule ip torture forward ip daddr %[1]s numgen random mod 100 '<' %[2]d drop",
		p.ip, percent)
}

func healLinks() error { return sh("nft flush chain ip torture forward") }

// delay lets what goes to a place wait in a queue that is emptied slowly.
func delay(p place) error {
	return sh("tc qdisc replace dev %s root tbf rate 512kbit burst 4000 latency 400ms", p.link())
}

func undelay(p place) error { return sh("tc qdisc del dev %s root", p.link()) }

// smallDisk is a file system of its own.
func smallDisk(folder string, megabytes int) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return sh("mount -t tmpfs -o size=%dm tmpfs %s", megabytes, folder)
}

// fill takes all that is left on the disk of a folder; free gives it back.
func fill(folder string) error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(folder, &disk); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(folder, "fill"))
	if err != nil {
		return err
	}
	defer file.Close()
	for size := int64(disk.Bavail) * disk.Bsize; size > 0; size /= 2 { // what is left when others write too
		if syscall.Fallocate(int(file.Fd()), 0, 0, size) == nil {
			return nil
		}
	}
	return nil
}

func free(folder string) error { return os.Remove(filepath.Join(folder, "fill")) }
