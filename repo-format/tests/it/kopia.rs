//! Reading repositories that kopia wrote, with nothing but the codecs and `std::fs`.

mod damage;
mod golden;
mod repository;
