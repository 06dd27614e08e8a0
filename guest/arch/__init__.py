"""What is x86 and what is Hyper-V below the VMBus: interrupt vectors, hypercalls, bringing CPUs up."""
