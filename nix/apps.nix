{ tools }: { }
