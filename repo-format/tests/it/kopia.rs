//! Reading repositories that kopia wrote, with nothing but the codecs and `std::fs`.

mod golden;
mod repository;
