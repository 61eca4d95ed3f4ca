package main

import (
	"fmt"
	"strconv"
	"syscall"
)

func sendSignal(arguments []string) error {
	if len(arguments) != 2 {
		return fmt.Errorf("signal PID NUMBER")
	}
	pid, err := strconv.Atoi(arguments[0])
	if err != nil || pid < 1 {
		return fmt.Errorf("no process: %s", arguments[0])
	}
	number, err := strconv.Atoi(arguments[1])
	if err != nil {
		return fmt.Errorf("no signal: %s", arguments[1])
	}
	return syscall.Kill(pid, syscall.Signal(number))
}
