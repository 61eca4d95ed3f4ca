use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = "../../../../proto/routeguide.proto";
    println!("cargo:rerun-if-changed={proto}");
    let files = protox::compile([proto], ["../../../../proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .compile_fds(files)?;
    Ok(())
}
